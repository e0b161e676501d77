"""A stranger's repository in which things are killed: agents that can be waited for and count themselves, a git that
kills whoever runs it, and one proof for every ending.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from strangers import Place, merged
from waiting import until

from reconciler.demo.bench import STRIKING_GIT

# The n-th start of a task lives the n-th life; later ones live the last. The lock is inherited by all that it starts.
AGENT = """\
out="$1" task="$RECONCILE_TASK"
exec 9>> "$out/alive.$task"
flock --nonblock 9 || echo "$task: two at a time" >> "$out/violations"
echo "$task $RECONCILE_RUN $$" >> "$out/starts"
n=$(grep -c "^$task " "$out/starts")
git symbolic-ref HEAD > "$out/branch.$n"
git status --porcelain > "$out/status.$n"
echo "$RECONCILE_RUN" >> .visitors
cat .visitors > "$out/visitors.$n"

commit() { echo "$1" > "$1" && git add "$1" && git commit --quiet --message="$1"; }
reach() { touch "$out/reached.$task.$1"; }
await() { until test -e "$out/$1"; do sleep 0.05; done; }

for life in $(seq "$n" -1 1); do
    if test -e "$out/life.$life"; then . "$out/life.$life"; exit; fi
done
"""
SUPERVISOR = "/supervisor."  # its program in a command line: the source, or what Python made of it
HANGING = "reach there; await the-end-of-the-world"
# Work that is only `half` there is red: it may land together with `whole` alone.
CHECK = """\
exec 9>> {out}/alive.check; flock --nonblock 9 || echo "two checks at a time" >> {out}/violations
echo x >> {out}/checks; touch {out}/checking; until test -e {out}/check; do sleep 0.05; done
test -e README && {{ test ! -e half || test -e whole; }} && git rev-parse 'HEAD^{{tree}}' >> {out}/green
"""
CUT_OFF = "ulimit -f 0;"  # the kernel kills git where it writes its first file


class Scene(Place):
    """A stranger's repository with agents that can be waited for, killed and counted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.out = folder / "outside"
        self.worktrees = folder / "worktrees"
        self.watchers: list[subprocess.Popen[str]] = []
        self.out.mkdir()
        (self.out / "agent.sh").write_text(AGENT)
        (self.out / "check").touch()
        (self.root / ".git/info/exclude").write_text(".visitors\n")

    # --- what is wanted ---

    def wanted(self, *lives: str, titles: tuple[str, ...] = ("Do a",), **spec: object) -> Path:
        """A manifest whose agents live these lives, one after the other."""
        for number, life in enumerate(lives, 1):
            (self.out / f"life.{number}").write_text(life + "\n")
        given = {
            "tasks": [{"key": title[-1], "title": title} for title in titles],
            "agent": {"argv": ["sh", f"{self.out}/agent.sh", f"{self.out}"], "backoff": {"initial": "0s", "max": "1s"}},
            "mergePolicy": {"checks": [CHECK.format(out=self.out)]},
        }
        return self.manifest(**given | spec)

    def let(self, gate: str) -> None:
        """Let what awaits this gate go on."""
        (self.out / gate).touch()

    # --- what happens ---

    def watch(self, *args: str) -> subprocess.Popen[str]:
        """A watcher, once it has looked at everything."""
        before = self._told()
        # Looked at often: without records nobody says that a run has ended.
        watcher = self.start("watch", "--until-done", "--interval", "1s", *args)
        self.watchers.append(watcher)
        until(lambda: self._told() > before, by=watcher)
        return watcher

    def work_begins(self, *lives: str, titles: tuple[str, ...] = ("Do a",), **spec: object) -> subprocess.Popen[str]:
        """A watcher, once the agent of every task got to where its first life says `reach there`."""
        watcher = self.watch("-f", str(self.wanted(*lives, titles=titles, **spec)))
        until(lambda: len(list(self.out.glob("reached.*.there"))) == len(titles), by=watcher)
        return watcher

    def checking_begins(self, *lives: str) -> subprocess.Popen[str]:
        """A watcher, once the check of the first pull request runs; it goes on when it is let: `check`."""
        (self.out / "check").unlink()
        watcher = self.watch("-f", str(self.wanted(*lives)))
        until((self.out / "checking").exists, by=watcher)
        return watcher

    def until_done(self) -> None:
        """A watcher that starts anew, lives to its end and finds everything done."""
        self.reconcile("watch", "--until-done")

    def strike(self, pattern: str, how: str = "") -> None:
        """Kill whoever runs the first git command that matches."""
        folder = self.out / "bin"
        folder.mkdir()
        (folder / "git").write_text(
            STRIKING_GIT.format(pattern=pattern, out=self.out, cut=how, git=shutil.which("git"))
        )
        (folder / "git").chmod(0o755)
        self.env["PATH"] = f"{folder}:{self.env['PATH']}"

    def processes(self) -> list[int]:
        """Everything that carries the mark of a run of this repository, what supervises first."""
        found = [int(Path(each).parent.name) for each in self.leftovers() if each.startswith("/proc")]
        return sorted(found, key=lambda pid: SUPERVISOR not in _command(pid))

    def kill_runs(self) -> None:
        """Kill every run with its whole tree, as when a machine goes down: nothing is recorded any more."""
        while pids := self.processes():
            for pid in pids:
                _kill(pid)

    def kill_supervisors(self) -> None:
        """Kill what supervises the runs, and leave the agents alive."""
        for pid in self.processes():
            if SUPERVISOR in _command(pid):
                _kill(pid)

    def crash(self, watcher: subprocess.Popen[str]) -> None:
        """Kill the watcher and every run."""
        end(watcher)
        self.kill_runs()

    def clear(self) -> None:
        """End everything that was started here."""
        for watcher in self.watchers:
            end(watcher)
        self.kill_runs()

    # --- what is seen ---

    @property
    def starts(self) -> list[tuple[str, str, int]]:
        """(task, run, pid) of every agent that ever started, in order, as they say themselves."""
        lines = self.said("starts").splitlines()
        return [(task, run, int(pid)) for task, run, pid in map(str.split, lines)]

    def runs(self) -> list[str]:
        """The number of the run of every start, in order."""
        return [run.rpartition("/")[2] for _, run, _ in self.starts]

    def said(self, name: str) -> str:
        """What was written into a file outside of the repository; empty where there is none."""
        path = self.out / name
        return path.read_text() if path.exists() else ""

    def only_task(self) -> str:
        return self.tasks()["Do a"]["id"]

    def worktree(self) -> Path:
        return self.worktrees / self.only_task()

    def landed(self) -> set[str]:
        """Every file on the base."""
        return set(self.git("ls-tree", "-r", "--name-only", "main").splitlines())

    def salvages(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname)", "refs/reconcile/salvage").split()

    def entries(self) -> dict[str, dict]:
        """What `status` says of every task, by title."""
        return {task["title"]: task for task in self.json("status")["epics"][0]["tasks"]}

    def converged(self, *titles: str) -> None:
        """The proof with which every scenario ends."""
        titles = titles or ("Do a",)
        merged(self, *titles)
        assert self.said("violations") == ""
        assert [each.name for each in self.worktrees.glob("*") if each.name != ".checks"] == []
        assert list(self.worktrees.glob(".checks/*")) == []
        assert list((self.root / ".git").glob("worktrees/*")) == []
        assert len(self.git("for-each-ref", "refs/reconcile/pr").splitlines()) == len(titles)
        begun = self.git("log", "--reverse", "--format=%T", "main").split()[0]
        # What lands together is tested as a whole: a tree amid it was never what the base pointed to.
        moves = self.git("log", "--walk-reflogs", "--format=%T", "main").split()
        assert {*moves} - {begun} <= set(self.said("green").split())

    def _told(self) -> int:
        events = self.root / ".beads/orchestrator/events.jsonl"
        return len(events.read_bytes().splitlines()) if events.exists() else 0


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace")
    except OSError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def end(watcher: subprocess.Popen[str]) -> None:
    """Kill a watcher, and nothing else."""
    watcher.kill()
    watcher.communicate()
