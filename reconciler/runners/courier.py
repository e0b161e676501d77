"""The node's half of a run that is elsewhere: carries it between a git remote and the supervisor that every run has.

Sent to a node as text, followed by `main(spec)`. Needs python3 (3.9 or later), git, the agent's program, and a remote that both
sides reach; nothing of ours is installed there and no file system is shared.

One ref per task is lock, lease, record, log and saved work of its newest run, and the only one that a live run writes. Every
write is a compare-and-swap (`git push --force-with-lease`):

    reserved (by the controller) -> claimed -> renewed, renewed, … -> ended      each by the holder of the last value
        \\______________________\\_________\\__ stopping, revoked (by the controller): what the node tries next is refused

A commit of it holds `record.json`, `run.json`, `exit.json` and `log`; its first parent is the head of the work, or a snapshot
of what is not committed, whose parent is the head.

The lease: a node that has been without contact for so long halts its agent (it is unseen, and its task may be given away),
and lets it go on when the next push is taken; where that is refused, the agent is killed. A thread of its own sees to that,
so that a push that hangs keeps nobody from it. Nothing here may raise: what fails is tried again, and what can't be
delivered is kept on the node and delivered by the next courier there.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]

TAKEN, REFUSED, GONE = "taken", "refused", "unreachable"
TICK_S = 0.1
CLAIM_S, FETCH_S, SWEEP_S = 120.0, 900.0, 120.0
LIMIT_NEAR_S = 150.0  # Slurm tells a job up to a minute before the one that it is asked to
LOG_MAX, LOG_HEAD, LOG_TAIL = 5 << 20, 1 << 20, 4 << 20
NOT_STARTED, NOT_DELIVERED = 75, 76
_SUBREAPER, _PARENT_DEATH = 36, 1
_OURS = {
    "GIT_AUTHOR_NAME": "reconcile",
    "GIT_AUTHOR_EMAIL": "reconcile@localhost",
    "GIT_COMMITTER_NAME": "reconcile",
    "GIT_COMMITTER_EMAIL": "reconcile@localhost",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# What an agent may have set up in its own repository runs nothing of ours.
_INERT = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=0")


class Failed(Exception):
    """A git command did not do what it was asked to."""


class Mirror:
    """The bare repository of a node, and the remote. Its git knows no settings of an agent's."""

    def __init__(self, path: str, remote: str, scratch: str) -> None:
        self.path, self.remote = path, remote
        self._env = {**os.environ, **_OURS}
        self._env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20")
        with NodeLock(os.path.join(scratch, "mirror.lock")):
            if not os.path.isdir(os.path.join(path, "objects")):
                self.run("init", "-q", "--bare", "--template=", "--", path, here=False)

    def run(
        self,
        *args: str,
        stdin: bytes | None = None,
        timeout: float = 120.0,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        ok: tuple[int, ...] = (0,),
        here: bool = True,
    ) -> str:
        """What git prints. Raises Failed."""
        words = ["git", *_INERT, *(("--git-dir=" + self.path,) if here else ()), *args]
        try:
            got = subprocess.run(
                words,
                input=stdin,
                stdin=None if stdin is not None else subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                env={**self._env, **(env or {})},
                cwd=cwd or "/",
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Failed("git " + args[0] + ": " + str(error)[-300:]) from error
        if got.returncode not in ok:
            answer = got.stdout[-300:] + got.stderr[-300:]
            raise Failed("git " + args[0] + ": " + answer.decode("utf-8", "replace"))
        return got.stdout.decode("utf-8", "replace").strip()

    def fetch(self, ref: str) -> None:
        """Have the objects of a ref here."""
        words = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance")
        mine = "+" + ref + ":refs/seen/" + ref.replace("refs/", "", 1)
        with NodeLock(self.path + ".fetch.lock"):
            self.run("fetch", *words, "--", self.remote, mine, timeout=FETCH_S)

    def at(self, ref: str) -> str | None:
        """Where a ref is on the remote; empty: nowhere; None: it can't be reached."""
        try:
            listed = self.run("ls-remote", "--", self.remote, ref, timeout=30.0)
        except Failed:
            return None
        found = [line.split("\t") for line in listed.splitlines()]
        return next((row[0] for row in found if row[-1] == ref), "")

    def swap(self, ref: str, old: str, new: str, timeout: float, env: dict[str, str] | None = None) -> str:
        """Move a ref of the remote from `old` (empty: it must not exist) to `new`: TAKEN, REFUSED or GONE."""
        lease = "--force-with-lease=" + ref + ":" + old
        answer = ""
        try:
            words = ("--quiet", "--no-verify", "--recurse-submodules=no", lease, "--", self.remote, new + ":" + ref)
            self.run("push", *words, timeout=timeout, env=env)
            return TAKEN
        except Failed as error:
            answer = str(error)
        # A lost answer is no answer: only the remote knows what became of it.
        now = self.at(ref)
        if now is None:
            return GONE
        if now == new:
            return TAKEN
        return REFUSED if now != old or "stale info" in answer else GONE

    def commit(self, files: dict[str, bytes], parents: list[str], env: dict[str, str] | None = None) -> str:
        """A commit of these files."""
        rows = ""
        for name in sorted(files):
            blob = self.run("hash-object", "-w", "--stdin", stdin=files[name])
            rows += "100644 blob " + blob + "\t" + name + "\n"
        tree = self.run("mktree", stdin=rows.encode())
        onto = [word for parent in parents for word in ("-p", parent)]
        return self.run("commit-tree", tree, *onto, stdin=b"reconcile: record of a run\n", env=env)


class NodeCheckout:
    """The agent's own repository and files: no other run shares its refs, and it reads the mirror's objects."""

    def __init__(self, mirror: Mirror, tree: str, branch: str, index: str) -> None:
        self.mirror, self.tree, self._branch, self._index = mirror, tree, branch, index
        self.objects = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": os.path.join(tree, ".git", "objects")}
        self.head = ""
        self.lacks = ""  # what the last snapshot could not hold
        self._large: frozenset[str] = frozenset()  # what Git LFS has brought here

    def make(self, head: str, wip: str | None, bases: dict[str, str]) -> None:
        """Files of the head, and over them what an earlier run had not committed, not committed."""
        run = self.mirror.run
        os.makedirs(os.path.dirname(self.tree), mode=0o700, exist_ok=True)
        run("init", "-q", "--template=", "--", self.tree, here=False)
        with open(os.path.join(self.tree, ".git", "objects", "info", "alternates"), "w") as file:
            file.write(os.path.join(self.mirror.path, "objects") + "\n")
        for name, sha in bases.items():
            self._in("update-ref", "refs/heads/" + name, sha)
        if self._branch:
            self._in("update-ref", "refs/heads/" + self._branch, head)
            self._in("symbolic-ref", "HEAD", "refs/heads/" + self._branch)
        else:
            self._in("update-ref", "--no-deref", "HEAD", head)
        self._in("reset", "--quiet", "--hard")
        if wip:
            self._in("read-tree", "-u", "--reset", wip)
            self._in("read-tree", "HEAD")
            self._in("update-index", "-q", "--refresh", ok=(0, 1))
        self.head, self._large = head, self._of_lfs()

    def snapshot(self) -> tuple[str, str | None]:
        """The head of the work, and a commit of what is in no commit of it; None where everything is."""
        where = ("--git-dir=" + os.path.join(self.tree, ".git"), "rev-parse", "--verify", "--quiet")
        run = self.mirror.run
        at = run(*where, "HEAD^{commit}", here=False, ok=(0, 1, 128))
        own = run(*where, "refs/heads/" + self._branch + "^{commit}", here=False, ok=(0, 1, 128))
        head = own or at or self.head
        others = []
        if at and at != head:  # off its branch: what holds all of that, and more, is the work
            if self._holds(at, head):
                head = at
            elif not self._holds(head, at):
                others = [at]
        env = {**self.objects, "GIT_WORK_TREE": self.tree, "GIT_INDEX_FILE": self._index}
        if not os.path.exists(self._index):  # our own: what an agent marks in its index hides nothing
            run("read-tree", head, env=env)
        unread = ""
        try:
            run("add", "--all", "--ignore-errors", "--", ".", env=env, cwd=self.tree, timeout=FETCH_S)
            if staged := self._staged(env):
                how = ("add", "--force", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul")
                literal = {**env, "GIT_LITERAL_PATHSPECS": "1"}
                run(*how, stdin=staged, env=literal, cwd=self.tree, timeout=FETCH_S)
        except Failed as error:  # what can be read is saved all the same
            unread = str(error)[-200:]
        tree = run("write-tree", env=env)
        raw = run("diff-tree", "-r", "--raw", "--no-renames", head, tree, env=env)
        nested = next((row.split("\t")[1] for row in raw.splitlines() if row.split()[1] == "160000"), "")
        large = self._of_lfs() - self._large
        self.lacks = unread or (nested and nested + " is a repository of its own")
        if large and not self.lacks:  # a commit holds their names alone
            self.lacks = "Git LFS keeps " + str(len(large)) + " of its files in .git/lfs/objects, and nowhere else"
        self.head = head
        if not raw and not others:
            return head, None
        onto = [word for parent in (head, *others) for word in ("-p", parent)]
        return head, run("commit-tree", tree, *onto, stdin=b"work that was not committed\n", env=env)

    def _staged(self, env: dict[str, str]) -> bytes:
        """What its agent has staged although git ignores it. Raises Failed: then nobody knows."""
        own = os.path.join(self.tree, ".git", "index")
        how = ("ls-files", "-z", "--cached", "--ignored", "--exclude-standard")
        listed = self.mirror.run(*how, env={**env, "GIT_INDEX_FILE": own}, cwd=self.tree).split("\0")
        there = [path for path in listed if path and os.path.lexists(os.path.join(self.tree, path))]
        return "".join(path + "\0" for path in there).encode("utf-8", "surrogateescape")

    def _of_lfs(self) -> frozenset[str]:
        """The files of Git LFS that are kept here, by their hashes."""
        found = os.walk(os.path.join(self.tree, ".git", "lfs", "objects"))
        return frozenset(name for _, _, names in found for name in names)

    def _holds(self, one: str, other: str) -> bool:
        try:
            self.mirror.run("merge-base", "--is-ancestor", other, one, env=self.objects)
        except Failed:
            return False
        return True

    def _in(self, *args: str, ok: tuple[int, ...] = (0,)) -> None:
        words = ("--git-dir=" + os.path.join(self.tree, ".git"), "--work-tree=" + self.tree)
        self.mirror.run(*words, *args, here=False, cwd=self.tree, ok=ok, timeout=FETCH_S)


class Courier:
    """One run on this node."""

    def __init__(self, spec: Spec, node: str) -> None:
        self._spec, self._node = spec, node
        self._root, self._folder = spec["root"], spec["folder"]
        self._mirror = Mirror(os.path.join(self._root, "mirrors", node + ".git"), spec["remote"], self._root)
        index = os.path.join(self._folder, "index")
        self._checkout = NodeCheckout(self._mirror, spec["tree"], spec["branch"], index)
        self._mine = spec["expect"]  # the last value of the ref that is ours
        self._head: str = ""
        self._wip: str | None = None
        self._seq = 0
        self._shim: subprocess.Popen[bytes] | None = None
        # Held, no process number is given out again, and no program of the other thread is waited for.
        self._guarding = threading.Lock()
        self._renewed = clock()  # when the last push that was taken began
        self._stop_asked: bool = False
        self._lost: bool = False
        self._halted: bool = False
        self._halted_at, self._halted_s = 0.0, 0.0
        self._over: bool = False
        self._asked_at = 0.0

    # --- the run ---

    def run(self) -> int:
        """Claim the run, start it, keep the lease until it is over, deliver; an exit status."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._hear)
        become_subreaper()
        answer = self._claimed()
        if answer != TAKEN:
            say("not started: " + answer)
            return NOT_STARTED
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - whatever it is, the controller is to hear of it
            say(str(error))
            return self._deliver({"cause": "setup", "step": 0, "error": str(error)[-500:]})
        threading.Thread(target=self._fence, daemon=True).start()
        self._keep_lease()
        self._over = True
        # Its supervisor may have been killed: nobody but us ends what that has left.
        for _ in range(3):
            kill(descendants(os.getpid()))
        return self._deliver({"cause": "exited", "signal": 9, "step": 0})

    def _hear(self, *_: object) -> None:
        self._stop_asked = True

    def _claimed(self) -> str:
        """Take the reservation; who comes second, or late, touches nothing."""
        end = clock() + CLAIM_S
        while True:
            try:
                self._renewed = clock()
                answer = self._claim()
            except Exception as error:  # noqa: BLE001 - what failed is tried again
                say(str(error))
                answer = GONE
            if answer != GONE or clock() > end or self._stop_asked:
                return answer
            time.sleep(1.0)

    def _claim(self) -> str:
        try:
            self._mirror.fetch(self._spec["ref"])
        except Failed:
            if self._mirror.at(self._spec["ref"]) == "":
                return REFUSED  # the reservation was taken back
            raise
        try:
            record = json.loads(self._mirror.run("cat-file", "blob", self._mine + ":record.json"))
        except Failed:
            return REFUSED  # it moved on before we came
        self._head, self._wip = record["head"], record.get("wip")
        new = self._mirror.commit({"record.json": self._record("claimed")}, [self._wip or self._head])
        answer = self._mirror.swap(self._spec["ref"], self._mine, new, 60.0)
        if answer == TAKEN:
            self._mine = new
        return answer

    def _begin(self) -> None:
        """Make the checkout, and start the supervisor in it."""
        os.makedirs(self._folder, mode=0o700)
        kept = {name: self._spec[name] for name in ("task", "n", "nonce", "by", "ref", "branch", "tree", "remote")}
        write(os.path.join(self._folder, "courier.json"), json.dumps({**kept, "head": self._head}).encode())
        self._checkout.make(self._head, self._wip, self._spec["bases"])
        write(os.path.join(self._folder, "spec.json"), json.dumps(self._spec["run"]).encode())
        if self._spec["prompt"]:
            write(os.path.join(self._folder, "prompt"), self._spec["prompt"].encode("utf-8", "replace"))
        program = os.path.join(self._folder, "supervisor.py")
        write(program, base64.b64decode(self._spec["supervisor"]))
        locks = [os.path.join(self._folder, name) for name in ("shim.lock", "agent.lock")]
        fds = [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for path in locks]
        for fd in fds:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        env = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILE_")}
        env.update(self._spec["env"])
        env["PWD"] = self._spec["tree"]
        self._shim = subprocess.Popen(
            [sys.executable, "-I", "-S", program, self._folder, *map(str, fds), "-1"],
            env=env,
            cwd=self._folder,
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dies_with_parent,  # before there is another thread
        )
        for fd in fds:
            os.close(fd)

    def _keep_lease(self) -> None:
        """Renew the lease until the run is over; with it go its log, its commits and what is not committed."""
        sync_s, lease_s = self._spec["sync_s"], self._spec["lease_s"]
        due, seen = 0.0, b""
        while self._shim is not None and self._shim.poll() is None:
            time.sleep(TICK_S)
            # That it began, or is set up, is pushed at once; everything else in its time.
            record = read(os.path.join(self._folder, "run.json"))
            if self._lost or not record or (clock() < due and record == seen):
                continue
            seen = record
            begun = clock()
            answer = self._push(None)
            with self._guarding:
                reap(self._shim.pid)
            due = clock() + (sync_s if answer == TAKEN else min(sync_s, max(lease_s / 20, 1.0)))
            if answer == TAKEN:
                self._renewed = begun  # its answer may have come late
            elif answer == REFUSED and self._refused():
                self._lost = True

    def _refused(self) -> bool:
        """True where the run is somebody else's by now. Where the controller has moved the ref only to say that it is to end,
        it goes on from there; where that can't be known, the lease decides."""
        try:
            now = self._mirror.at(self._spec["ref"])
            if now is None:
                return False
            if not now:
                return True
            self._mirror.fetch(self._spec["ref"])
            record = json.loads(self._mirror.run("cat-file", "blob", now + ":record.json"))
            if record["nonce"] != self._spec["nonce"] or record["phase"] != "stopping":
                return True
            stop = {"why": record.get("why", "person"), "at": utc()}
            write(os.path.join(self._folder, "stop.json"), json.dumps(stop).encode())
            self._mine, self._stop_asked = now, True
        except Exception as error:  # noqa: BLE001 - it is asked again at the next renewal
            say(str(error))
        return False

    # --- the fence: in a thread of its own ---

    def _fence(self) -> None:
        while not self._over:
            time.sleep(TICK_S)
            try:
                with self._guarding:
                    self._guard()
            except Exception as error:  # noqa: BLE001 - it goes on watching
                say(str(error))

    def _guard(self) -> None:
        shim = self._shim
        if shim is None or shim.poll() is not None:
            return
        if self._lost:
            # Somebody else may be at work: nothing of it draws another breath.
            kill(descendants(shim.pid))
            send([shim.pid], signal.SIGCONT)
            self._ask(shim.pid)
        elif self._stop_asked:
            if self._halted:
                self._go_on(shim.pid)
            if not self._asked_at:
                self._say_why()
            self._ask(shim.pid)
        elif clock() - self._renewed > self._spec["lease_s"]:
            if not os.path.isdir("/proc/self"):
                self._stop_asked = True  # what can't be found can't be halted
            else:
                if not self._halted:
                    self._halted, self._halted_at = True, clock()
                halt(shim.pid)
        elif self._halted:
            self._go_on(shim.pid)

    def _say_why(self) -> None:
        """Where Slurm's own limit is why the run has to end, that is its reason, unless another one is known."""
        path = os.path.join(self._folder, "stop.json")
        left = slurm_time_left()
        if left is not None and left <= LIMIT_NEAR_S and not os.path.exists(path):
            write(path, json.dumps({"why": "engine-limit", "at": utc()}).encode())
            with open(os.path.join(self._folder, "log"), "ab") as log:
                log.write(b"reconcile: the time limit of its Slurm job is near: it is ended\n")

    def _ask(self, pid: int) -> None:
        if clock() - self._asked_at > 5.0:
            self._asked_at = clock()
            send([pid], signal.SIGTERM)

    def _go_on(self, pid: int) -> None:
        # First of all: by a line in the log its supervisor does not take the time that it was halted for silence, and by this
        # not for time that it has had.
        self._halted_s += clock() - self._halted_at
        write(os.path.join(self._folder, "halted.json"), json.dumps({"seconds": self._halted_s}).encode())
        with open(os.path.join(self._folder, "log"), "ab") as log:
            log.write(b"reconcile: was halted while the remote was out of reach\n")
        self._halted = False
        send([*descendants(pid), pid], signal.SIGCONT)

    # --- its reports ---

    @property
    def _works(self) -> bool:
        """True where what it makes is to be saved: a check has no branch, and makes nothing."""
        return bool(self._spec["branch"])

    def _record(self, phase: str, ending: bytes = b"") -> bytes:
        self._seq += 1
        kept = {name: self._spec[name] for name in ("task", "n", "nonce", "by", "manifest", "branch_at")}
        now = {"phase": phase, "node": self._node, "seq": self._seq, "head": self._head, "wip": self._wip}
        seal = sealed(self._spec["seal"], ending) if ending else ""
        return json.dumps({**kept, **now, "lacks": self._checkout.lacks, "seal": seal}).encode()

    def _push(self, ending: dict[str, Any] | None) -> str:
        # An engine's TERM may reach a git of ours as well: whatever failed is tried again.
        try:
            return self._pushed(ending)
        except Exception as error:  # noqa: BLE001
            say(str(error))
            return GONE

    def _pushed(self, ending: dict[str, Any] | None) -> str:
        if self._works and os.path.isdir(self._spec["tree"]):
            try:
                self._head, self._wip = self._checkout.snapshot()
            except Failed as error:  # a full disk: the lease is renewed all the same, and nothing is cleared away
                self._checkout.lacks = str(error)[-200:]
                say(str(error))
        files = {}
        for name in ("run.json", "exit.json", "says.json", "log"):
            content = read(os.path.join(self._folder, name))
            if content:
                files[name] = shortened(content)
        if ending and "exit.json" not in files:
            known = {"code": None, "signal": None, "stop": None, "ended_at": utc()}
            files["exit.json"] = json.dumps({**known, **ending}).encode()
        phase = "ended" if ending else "renewed"
        files["record.json"] = self._record(phase, files["exit.json"] if ending else b"")
        env = self._checkout.objects if self._works else {}
        new = self._mirror.commit(files, [self._wip or self._head], env)
        timeout = max(min(60.0, self._spec["lease_s"] / 4), 1.0)
        answer = self._mirror.swap(self._spec["ref"], self._mine, new, timeout, env)
        if answer == TAKEN:
            self._mine = new
        return answer

    def _deliver(self, ending: dict[str, Any]) -> int:
        """The last push, until it is taken or refused; what can't be delivered stays here for the next courier."""
        end, pause = clock() + max(3 * self._spec["lease_s"], self._spec["final_s"]), 0.3
        answer = REFUSED if self._lost else self._push(ending)
        while answer != TAKEN and clock() < end:
            if answer == REFUSED and (self._lost or self._refused()):
                break
            time.sleep(pause)
            pause = min(pause * 2, 10.0)
            answer = self._push(ending)
        say("delivered: " + answer)
        if answer == TAKEN:
            if not self._checkout.lacks:
                clear(self._spec["tree"], self._folder)
            else:
                os.rename(os.path.join(self._folder, "courier.json"), os.path.join(self._folder, "kept.json"))
        return 0 if answer == TAKEN else NOT_DELIVERED


# --- what others have left on this node ---


def sweep(root: str, mirror: Mirror) -> list[str]:
    """Deliver what no courier carries any more under refs of its own, and clear it away; what could not go."""
    left, end = [], clock() + SWEEP_S
    for folder in leftovers(root):
        if clock() > end:
            break
        task, n = folder.split("/")[-2:]
        with NodeLock(lock_of(root, task, n), wait=False) as held:
            if not held.taken:
                continue
            try:
                deliver_late(folder, mirror)
            except Exception as error:  # noqa: BLE001 - it stays, and is tried again
                say(str(error))
                left.append(folder)
    return left


def tidy(root: str) -> None:
    """Remove what couriers that were killed, and supervisors, have left beside the runs. Nobody waits for a run on a node."""
    locks = os.path.join(root, "locks")
    for path in (*(os.path.join(locks, name) for name in listed(locks)), os.path.join(root, "mirror.lock")):
        if os.path.exists(path):
            with NodeLock(path, wait=False):
                pass
    for name in listed(os.path.join(root, "mirrors")):
        if name.endswith(".fetch.lock"):
            with NodeLock(os.path.join(root, "mirrors", name), wait=False):
                pass
    unlink(os.path.join(root, "runs", "wake"))


def leftovers(root: str) -> list[str]:
    """The folders of runs that are, or were, on this node and are not cleared away."""
    found = []
    runs = os.path.join(root, "runs", "work")
    for task in sorted(listed(runs)):
        for n in sorted(listed(os.path.join(runs, task))):
            folder = os.path.join(runs, task, n)
            if os.path.exists(os.path.join(folder, "courier.json")):
                found.append(folder)
    return found


def deliver_late(folder: str, mirror: Mirror) -> None:
    """Push what a run has left to a ref that nobody else writes, unless its record is there. Raises Failed."""
    spec = json.loads(read(os.path.join(folder, "courier.json")))
    kill(carriers(folder))
    if not spec["branch"]:
        return clear(spec["tree"], folder)  # a check makes nothing
    ref = spec["ref"]
    known = mirror.at(ref)
    if known is None:
        raise Failed("the remote is out of reach")
    if known:
        mirror.fetch(ref)
        record = json.loads(mirror.run("cat-file", "blob", known + ":record.json"))
        if record["nonce"] == spec["nonce"] and record["phase"] == "ended":
            return clear(spec["tree"], folder)
        if record["nonce"] == spec["nonce"] and record["phase"] != "revoked":
            raise Failed("it is not given up yet")
    if os.path.isdir(os.path.join(spec["tree"], ".git")):
        checkout = NodeCheckout(mirror, spec["tree"], spec["branch"], os.path.join(folder, "index"))
        checkout.head = spec["head"]
        head, wip = checkout.snapshot()
        if (wip or head) != spec["head"]:
            late = (
                "refs/reconcile/undelivered/"
                + spec["by"]
                + "/"
                + spec["task"]
                + "/"
                + str(spec["n"])
                + "-"
                + spec["nonce"][:8]
            )
            if mirror.swap(late, "", wip or head, 300.0, checkout.objects) == GONE:
                raise Failed("the remote is out of reach")
        if checkout.lacks:
            return os.rename(os.path.join(folder, "courier.json"), os.path.join(folder, "kept.json"))
    clear(spec["tree"], folder)


def clear(tree: str, folder: str) -> None:
    """Take a run away from this node."""
    for path in (tree, folder):
        shutil.rmtree(path, ignore_errors=True)
    for path in (tree, folder):
        try:
            os.rmdir(os.path.dirname(path))
        except OSError:
            pass  # another run of the task


def carriers(folder: str) -> list[int]:
    """Every process that carries the folder of a run in its environment."""
    wanted = ("RECONCILE_RUN_FOLDER=" + folder).encode()
    found = []
    for name in listed("/proc"):
        other = name.isdecimal() and int(name) != os.getpid()
        if other and wanted in read("/proc/" + name + "/environ").split(b"\0"):
            found.append(int(name))
    return found


# --- processes ---


def clock() -> float:
    """Seconds that pass also while the machine sleeps."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return time.monotonic()


def descendants(root: int) -> list[int]:
    """Every process below one, parents first."""
    children: dict[int, list[int]] = {}
    for name in listed("/proc"):
        if name.isdecimal():
            fields = read("/proc/" + name + "/stat").rpartition(b")")[2].split()
            if len(fields) > 1 and fields[0] not in (b"Z", b"X"):
                children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(0), [])
        found += below
        todo += below
    return found


def halt(pid: int) -> None:
    """Stop a process and all below it, until none is left that has just been started."""
    before: set[int] = set()
    send([pid], signal.SIGSTOP)
    for _ in range(20):
        now = set(descendants(pid))
        if now <= before:
            return
        send(sorted(now - before), signal.SIGSTOP)
        before |= now


def kill(pids: list[int]) -> None:
    """End them at once."""
    send(pids, signal.SIGKILL)


def send(pids: list[int], signum: int) -> None:
    """Signal processes that are below us: nobody else gets a number of theirs before we have waited for them."""
    for pid in pids:
        try:
            os.kill(pid, signum)
        except OSError:
            pass


def reap(but: int) -> None:
    """Have nothing left of those who ended as our children, but for one: git leaves behind what it started to reach a remote."""
    for name in listed("/proc"):
        if name.isdecimal() and int(name) != but:
            fields = read("/proc/" + name + "/stat").rpartition(b")")[2].split()
            if len(fields) > 1 and fields[0] == b"Z" and int(fields[1]) == os.getpid():
                try:
                    os.waitpid(int(name), os.WNOHANG)
                except OSError:
                    pass


def become_subreaper() -> None:
    """Whatever loses its parent becomes our child, so that it is found."""
    try:
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def dies_with_parent() -> None:
    """Between fork and exec: hear when the courier is killed, as nobody would keep the lease any more."""
    try:
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGTERM, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def slurm_time_left() -> float | None:
    """The seconds that the Slurm job which we are may still take; None outside of one, without a limit, and where nobody knows."""
    job = os.environ.get("SLURM_JOB_ID", "")
    if not job:
        return None
    words = ["squeue", "--noheader", "--format=%L", "--jobs=" + job]
    try:
        got = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=5.0)
    except (OSError, subprocess.SubprocessError):
        return None
    days, _, rest = got.stdout.decode("utf-8", "replace").strip().rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in parts):
        return 0.0 if rest == "INVALID" else None
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds + (int(days) * 86400 if days.isdecimal() else 0)


# --- files ---


class NodeLock:
    """A lock while the block runs; without `wait`, whether it could be taken. Its file goes with it."""

    def __init__(self, path: str, wait: bool = True) -> None:
        self._path, self._how = path, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        self.taken = False

    def __enter__(self) -> NodeLock:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        while True:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, self._how)
            except OSError:
                return self
            # Who had it before us has removed its file: what we hold then keeps nobody out.
            if self._stands():
                self.taken = True
                return self
            os.close(self._fd)

    def _stands(self) -> bool:
        try:
            there, ours = os.stat(self._path), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def __exit__(self, *_: object) -> None:
        if self.taken and self._stands():
            unlink(self._path)
        os.close(self._fd)


def lock_of(root: str, task: str, n: str) -> str:
    """The file that a courier locks for as long as it carries a run."""
    return os.path.join(root, "locks", task + "." + n)


def unlink(path: str) -> None:
    """Remove a file; one that is gone is gone."""
    try:
        os.unlink(path)
    except OSError:
        pass


def listed(folder: str) -> list[str]:
    """The names in a folder; none where there is none."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read(path: str) -> bytes:
    """What a file holds; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def write(path: str, content: bytes) -> None:
    """Make a file that only we may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def sealed(secret: str, ending: bytes) -> str:
    """The word of a node on how its run ended, which nobody else can give."""
    return hmac.new(secret.encode(), ending, "sha256").hexdigest()


def shortened(content: bytes) -> bytes:
    """A log without its middle, where it is long."""
    if len(content) <= LOG_MAX:
        return content
    left = len(content) - LOG_HEAD - LOG_TAIL
    return content[:LOG_HEAD] + b"\n[reconcile: %d bytes left out here]\n" % left + content[-LOG_TAIL:]


def utc() -> str:
    """Now, as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


def say(text: str) -> None:
    """A line for the readers of what the job printed; that it can't be written harms nobody."""
    try:
        sys.stderr.write("reconcile: " + text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def main(spec: Spec) -> None:
    """Carry one run; called at the end of the script that the node is sent."""
    code = 70
    try:
        os.umask(0o077)
        node = os.environ.get("RECONCILE_NODE") or os.environ.get("SLURMD_NODENAME") or os.uname().nodename
        root = spec["root"]
        with NodeLock(lock_of(root, spec["task"], str(spec["n"])), wait=False) as alone:
            code = Courier(spec, node).run() if alone.taken else NOT_STARTED
        mirror = Mirror(os.path.join(root, "mirrors", node + ".git"), spec["remote"], root)
        sweep(root, mirror)
        tidy(root)
    except Exception as error:  # noqa: BLE001 - there is nobody to catch it
        say(repr(error))
    sys.exit(code)
