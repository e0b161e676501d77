"""A repository that an older program left goes on under this one; a program that is replaced under a watch is noticed.

`upgrade/` holds the package as it was: whatever records and locks become, what it wrote stays readable.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from strangers import Place
from waiting import ended, until

import reconciler
from reconciler.system.format import FORMAT

TESTS = Path(__file__).parents[1]
OLDER = sorted((TESTS / "upgrade").glob("*.tar.xz"))
NEW = Path(reconciler.__file__).parent
USD = 0.25
# Stands in for claude, and says like it what it cost: what was spent must not be forgotten.
CLAUDE = """\
#!/bin/sh
prompt=$(cat)
echo "$RECONCILE_TASK" >> {out}/starts
case "$prompt" in *Stay*) until test -e {out}/go; do sleep 0.05; done;; esac
echo "$RECONCILE_TASK" > "$RECONCILE_TASK.txt" && git add . && git commit --quiet --message="Do $RECONCILE_TASK"
case "$prompt" in *crumb*) echo half > half-done;; esac
echo '{{"type":"result","subtype":"success","is_error":false,"result":"Done.","total_cost_usd":{usd}}}'
"""
STAYING = ("Stay one", "Stay two", "Stay three")
QUICK = ("Quick first", "Quick second", "Leave a crumb")


class Upgraded(Place):
    """A repository with agents and checks that can be waited for, worked on by a program that can be replaced."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.out, self.program = folder / "outside", folder / "program"
        (self.out / "bin").mkdir(parents=True)
        claude = self.out / "bin/claude"
        claude.write_text(CLAUDE.format(out=self.out, usd=USD))
        claude.chmod(0o755)
        self.env["PATH"] = f"{claude.parent}:{self.env['PATH']}"

    def use(self, *, older: Path | None = None) -> None:
        """Put an older program, or this one, in the place of what is installed."""
        shutil.rmtree(self.program, ignore_errors=True)
        self.program.mkdir()
        if older is None:
            shutil.copytree(NEW, self.program / "reconciler", ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("manifests", ".claude"):
                shutil.copytree(NEW.parent / name, self.program / name)
        else:
            with tarfile.open(older) as archive:
                archive.extractall(self.program, filter="data")
        self.env["PYTHONPATH"] = str(self.program)

    def replace_a_module(self) -> None:
        """Put another version of one file in its place, as an installer does, or git."""
        module = self.program / "reconciler/cli/watch.py"
        newer = module.with_suffix(".new")
        newer.write_text(module.read_text() + "# newer\n")
        newer.replace(module)

    def wanted(self, name: str, titles: tuple[str, ...], review: str = "none", **spec: object) -> str:
        """A manifest of these tasks."""
        checks = [f"touch {self.out}/checking; until test -e {self.out}/check; do sleep 0.05; done"]
        path = self.root.parent / f"{name}.yaml"
        document = {
            "apiVersion": "reconcile/v1",
            "kind": "Epic",
            "metadata": {"name": name},
            "spec": {
                "repository": "project",
                "tasks": [{"key": title.lower().replace(" ", "-"), "title": title} for title in titles],
                "agent": {"kind": "claude", "env": {"IS_SANDBOX": "1"}},
                "mergePolicy": {"checks": checks, "review": review},
                **spec,
            },
        }
        path.write_text(yaml.safe_dump(document))
        return str(path)

    def let(self, gate: str) -> None:
        (self.out / gate).touch()

    @contextmanager
    def watching(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """A watch beside what happens; killed at the end, if it is still there."""
        watch = self.start("watch", "--interval", "1s", *args)
        try:
            until(lambda: str(watch.pid) in self.holder() or watch.poll() is not None)
            yield watch
        finally:
            watch.kill()
            watch.communicate()

    def entries(self) -> dict[str, dict]:
        """What `status` says of every task, by title."""
        return {task["title"]: task for epic in self.json("status")["epics"] for task in epic["tasks"]}

    def starts(self) -> list[str]:
        """The task of every agent that ever started."""
        path = self.out / "starts"
        return path.read_text().split() if path.exists() else []

    def runs(self) -> list[str]:
        return sorted(str(path.relative_to(self.root / ".git/reconcile/runs")) for path in self.folders())

    def folders(self) -> list[Path]:
        return list((self.root / ".git/reconcile/runs/work").glob("*/[0-9]*"))

    def holder(self) -> str:
        """What whoever acts here says of itself."""
        lock = self.root / ".git/reconcile/locks/reconciler"
        return lock.read_text() if lock.exists() else ""

    def salvaged(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/reconcile/salvage").splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Upgraded]:
    place = Upgraded(tmp_path)
    yield place
    place.let("go")
    place.let("check")
    place.reconcile("stop", "--all", code=None)


def shown(entry: dict) -> dict:
    """What a person knows a task by, and must find again."""
    run = entry["run"] or {}
    pull = entry["pullRequest"]
    if pull:  # without what older ones do not say
        entry = entry | {
            "pullRequest": {
                name: pull[name] for name in pull if name not in ("risk", "approvedBy", "checkedWith", "notCounted")
            }
        }
    kept = {name: entry[name] for name in ("id", "key", "status", "phase", "worktree", "branch", "pullRequest")}
    return kept | {"run": {name: run.get(name) for name in ("kind", "attempt", "n", "pid", "state", "startedAt")}}


@pytest.mark.parametrize("older", OLDER, ids=lambda path: path.name.partition(".")[0])
def test_what_an_older_program_left_goes_on_with_the_same_agents_and_nothing_twice(
    place: Upgraded, older: Path
) -> None:
    place.use(older=older)
    place.reconcile("apply", "-f", place.wanted("reviewed", ("Quick to see",), review="human"))
    place.reconcile("apply", "-f", place.wanted("work", (*STAYING, *QUICK), maxAgents=6))
    with place.watching():
        until(lambda: (place.out / "checking").exists() and len(set(place.starts())) == 7)
        until(lambda: sum(bool(task["pullRequest"]) for task in place.entries().values()) == 4)
    left, salvaged = place.json("status"), place.salvaged()
    runs, entries = place.runs(), place.entries()
    assert len(salvaged) == 1 and [entries[title]["run"]["state"] for title in STAYING] == ["running"] * 3

    place.use()

    found = place.json("status")
    assert [epic["spend"] for epic in found["epics"]] == [epic["spend"] for epic in left["epics"]]
    assert {title: shown(entry) for title, entry in place.entries().items()} == {
        title: shown(entry) for title, entry in entries.items()
    }
    place.reconcile("approve", entries["Quick to see"]["id"])
    place.let("check")
    with place.watching("--until-done") as watch:
        until(lambda: sum(task["status"] == "closed" for task in place.entries().values()) == 4)
        assert [place.entries()[title]["run"]["pid"] for title in STAYING] == [
            entries[title]["run"]["pid"] for title in STAYING
        ]
        place.let("go")
        out, err = ended(watch)
        assert watch.returncode == 0, out + err

    assert sorted(place.starts()) == sorted(entry["id"] for entry in entries.values())  # nobody was started again
    assert place.runs() == runs
    assert sum(epic["spend"]["usd"] for epic in place.json("status")["epics"]) == 7 * USD
    assert place.salvaged() == salvaged
    place.reconcile("restore", entries["Leave a crumb"]["id"])
    assert len(place.subjects()) == 8

    place.use(older=older)
    assert len(place.json("status")["epics"]) == 2  # as long as nothing has become another form, it still reads it


@pytest.mark.parametrize("older", OLDER, ids=lambda path: path.name.partition(".")[0])
def test_an_older_watch_whose_files_are_replaced_under_it_goes_on(place: Upgraded, older: Path) -> None:
    place.use(older=older)
    place.let("check")
    place.reconcile("apply", "-f", place.wanted("work", ("Stay one", "Quick after"), maxAgents=1))
    with place.watching("--until-done") as watch:
        until(lambda: len(place.starts()) == 1)
        place.use()
        place.let("go")
        out, err = ended(watch)

        assert watch.returncode == 0, out + err
    assert len(place.starts()) == len(set(place.starts())) == 2
    assert len(place.subjects()) == 3


def test_a_watch_whose_program_was_replaced_starts_nothing_more_and_status_says_so(place: Upgraded) -> None:
    place.use()
    place.reconcile("apply", "-f", place.wanted("work", ("Stay one", "Quick after"), maxAgents=1))
    with place.watching() as watch:
        until(lambda: len(place.starts()) == 1)
        assert reason(place, "Quick after") == "NoAgentSlot"
        for module in (place.program / "reconciler").rglob("*.py"):  # written anew, and the same
            module.with_suffix(".new").write_bytes(module.read_bytes())
            module.with_suffix(".new").replace(module)
        assert reason(place, "Quick after") == "NoAgentSlot"

        place.replace_a_module()
        until(lambda: reason(place, "Quick after") == "ProgramReplaced")
        degraded = next(each for each in place.json("status")["epics"][0]["conditions"] if each["type"] == "Degraded")
        assert (degraded["status"], degraded["reason"]) == ("True", "ProgramReplaced")
        assert f"pid {watch.pid}" in degraded["message"]
        assert "was started from files that have been replaced" in place.reconcile("status")
        assert "was started from files that have been replaced" in place.reconcile("doctor", code=1)
        (place.out / "checking").unlink(missing_ok=True)  # doctor has run the check where there is nothing

        place.let("go")  # who is running finishes, and is offered; nothing else begins
        until(lambda: place.entries()["Stay one"]["pullRequest"])
        until(lambda: reason(place, "Stay one") == "ProgramReplaced")
        assert len(place.starts()) == 1 and not (place.out / "checking").exists()
        watch.send_signal(signal.SIGTERM)
        _, err = ended(watch)
        assert err.count("ProgramReplaced") == 1, err

    place.let("check")
    place.reconcile("watch", "--until-done")
    assert len(place.subjects()) == 3


def test_a_watch_that_its_manager_starts_again_ends_once_its_program_was_replaced(place: Upgraded) -> None:
    place.use()
    place.env["NOTIFY_SOCKET"] = str(place.root / "nobody-listens")
    place.reconcile("apply", "-f", place.wanted("work", ("Stay one",), maxAgents=1))
    with place.watching() as watch:
        until(lambda: len(place.starts()) == 1)
        place.replace_a_module()
        until(lambda: watch.poll() is not None)

    place.let("go")  # its agent has run on, and the next one goes on with it
    place.let("check")
    place.reconcile("watch", "--until-done")
    assert len(place.starts()) == 1 and len(place.subjects()) == 2


def test_a_program_that_is_as_it_was_is_never_taken_for_a_replaced_one(place: Upgraded) -> None:
    place.use()
    place.let("check")
    place.let("go")
    place.reconcile("apply", "-f", place.wanted("work", ("Quick one",)))
    shutil.rmtree(
        place.program / "reconciler/__pycache__", ignore_errors=True
    )  # what Python writes there is no part of it

    said = place.reconcile("watch", "--until-done")

    assert "ProgramReplaced" not in said and len(place.subjects()) == 2


@pytest.mark.parametrize(
    "words", ["status", "watch", "apply -f ../work.yaml", "diff", "retry x-1", "doctor", "task list"]
)
def test_records_of_a_newer_program_are_refused_with_words(place: Upgraded, words: str) -> None:
    place.wanted("work", ("Quick one",), suspend=True)
    place.reconcile("apply", "-f", str(place.root.parent / "work.yaml"))
    mark = place.root / ".git/reconcile/format"
    assert int(mark.read_text()) == FORMAT
    mark.write_text(f"{FORMAT + 1}\n")
    before = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()}

    process = place.start(*words.split())
    out, err = ended(process)

    assert process.returncode == (3 if words == "diff" else 1), out + err
    assert "were written by a newer version of reconcile" in out + err and "Traceback" not in err
    assert {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()} == before


def test_a_mark_that_says_nothing_is_an_error_that_says_what_to_do(place: Upgraded) -> None:
    place.reconcile("apply", "-f", place.wanted("work", ("Quick one",), suspend=True))
    (place.root / ".git/reconcile/format").write_text("two\n")

    assert "hint: where no newer reconcile was used here: echo 2 > " in place.reconcile("status", code=1)


def reason(place: Upgraded, title: str) -> str | None:
    waiting = place.entries()[title]["waiting"]
    return waiting and waiting["reason"]
