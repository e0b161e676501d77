"""Every command as people type it: on terminals of two sizes, and in a pipe, with the screen looked at."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import click
import pytest
from strangers import Place
from terminals import SIZES, Terminal, the_demo_was_seen
from waiting import ended, run, until

from reconciler.cli import COMMANDS, program

AGENT = """\
echo "$RECONCILE_TASK, attempt $RECONCILE_ATTEMPT" | tee "$RECONCILE_TASK.txt"
git add . && git commit --quiet --message="Do $RECONCILE_TASK"
test "$RECONCILE_ATTEMPT" = 1 || echo more > unfinished
"""

# What a person types, one line after the other; the exit status; what they must see. {a} and {b} are the two tasks.
SESSION = r"""
--help                                  0  Record a manifest and do what can be done now
doctor                                  0  All is well
init first.yaml                         0  wrote first.yaml
explain spec.maxAgents                  0  Agents alive at once
schema Epic                             0  "maxAgents"
completion bash                         0  complete
apply --file none.yaml                  2  none.yaml
diff -f ../epic.yaml                    1  CreateTask +create task 'Do a'
apply -f ../epic.yaml --wait            3  applied work
diff                                    0  AwaitingApproval
status                                  0  0/2 closed
describe {a}                            0  exit status 0
logs {a}                                0  {a}, attempt 1
get tasks                               0  Blocked +Do b
get runs                                0  attempt 1 +ended
get worktrees                           0  clean
get prs                                 0  required +Do a
get queue                               0  waiting for approval
get events                              0  CreateTask: create task 'Do a'
get manifests                           0  AwaitingApproval
ui --listen 0.0.0.0:443                 2  every address
top nobody                              2  no manifest 'nobody' is applied here
pr list                                 0  required +Do a
pr show 1                               0  Do {a}
pr diff 1                               0  attempt 1
reject {a} -m louder                    0  rejected #1
watch --until-done                      3  start agent \(attempt 2\): a person asked for changes: louder
approve {a}                             0  approved #1
merge --dry-run                         1  merge #1 \([0-9a-f]+\) into main
merge                                   0  merge #1
restore {a}                             0  {a}
take {b}                                0  yours
release {b}                             0  given back
stop {b}                                0  nothing ran
retry {b}                               0  reset: attempts start again at 1
spawn {b}                               0  start agent \(attempt 1\)
stop --all                              0  .
suspend work                            0  suspended work
resume work                             0  resumed work
unfreeze                                0  no queue pauses
notify test                             2  no applied manifest notifies anybody
service install --print                 0  (Type=notify|KeepAlive)
service status                          1  service: not installed
task create 'Look at it' -p 1           0  created project-
task list                               0  Look at it
task ready                              0  Look at it
task show {b}                           0  title +Do b
task update {b} --add-label urgent      0  updated {b}
task dep add {b} {a}                    0  {b} depends on {a}
task dep remove {b} {a}                 0  no longer depends
task close {b} --reason 'not needed'    0  closed {b}
watch --until-done                      0  Up to date, but for 2 closed tasks the work is not on the base
prune                                   0  nothing to remove
delete work                             0  deleted manifest work
run --agent 'sh -c true' --dry-run      1  start agent \(attempt 1\)
retry nobody                            2  no task nobody
status --colour                         2  No such option
"""


@dataclass(frozen=True)
class Step:
    """One line of the session: what is typed, its exit status, and a pattern of what is seen."""

    typed: str
    code: int
    seen: str

    @classmethod
    def of(cls, line: str) -> Step:
        typed, code, seen = re.split(r"  +(?=\d  )|(?<=\d)  ", line, maxsplit=2)
        return cls(typed, int(code), seen)


STEPS = tuple(map(Step.of, SESSION.strip().splitlines()))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    place.manifest(agent={"argv": ["sh", "-c", AGENT]}, mergePolicy={"review": "human"})
    yield place
    place.reconcile("stop", "--all", code=None)


def named(place: Place, text: str) -> str:
    """The text with the ids of the two tasks."""
    store = place.root / ".beads/issues.jsonl"
    ids = {title[-1]: task["id"] for title, task in place.tasks().items()} if store.exists() else {}
    return text.replace("{a}", ids.get("a", "")).replace("{b}", ids.get("b", ""))


def words_of(typed: str) -> list[str]:
    return [word for word in shlex.split(typed) if not word.startswith("-")]


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_every_command_works_on_a_terminal(place: Place, size: tuple[int, int]) -> None:
    columns, rows = size
    for step in STEPS:
        terminal = Terminal(place.root, place.env, *shlex.split(named(place, step.typed)), columns=columns, rows=rows)
        try:
            code = terminal.wait()
            shown = "\n".join(terminal.lines)
            # We break sentences between words, and the terminal breaks what is longer than a row anywhere.
            read = (shown, re.sub(r"\s*\n\s*", " ", shown), terminal.text)

            assert code == step.code, (step, shown)
            assert "Traceback" not in shown, shown
            assert any(re.search(named(place, step.seen), each) for each in read), (step, shown)
            assert terminal.as_it_was_found(), (step, terminal.printed)
        finally:
            terminal.close()


def test_every_command_works_in_a_pipe(place: Place) -> None:
    for step in STEPS:
        typed = [sys.executable, "-m", "reconciler", *shlex.split(named(place, step.typed))]
        done = run(typed, cwd=place.root, env=place.env)

        assert done.returncode == step.code, (step, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        assert re.search(named(place, step.seen), done.stdout + done.stderr), (step, done.stdout, done.stderr)
        assert "\x1b" not in done.stdout + done.stderr, step


def test_every_command_is_typed_in_the_session() -> None:
    typed = {" ".join(words_of(step.typed)) for step in STEPS}

    missing = [name for name in every_command() if not any(f"{line} ".startswith(f"{name} ") for line in typed)]

    # It would take away a service of whoever runs the tests; the demo has a test of its own.
    assert missing == ["service uninstall", "demo"]


def every_command() -> Iterator[str]:
    """Every command by its words: `pr list`, `task dep add`."""
    context = click.Context(program)
    yield from (words for name in COMMANDS for words in _below(name, program.get_command(context, name)))


def _below(name: str, command: click.Command | None) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield name
        return
    for sub, below in command.commands.items():
        yield from _below(f"{name} {sub}", below)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_the_demo_on_a_terminal_shows_its_agents_at_work_and_ends_green(place: Place, size: tuple[int, int]) -> None:
    columns, rows = size
    terminal = Terminal(place.root, place.env, "demo", columns=columns, rows=rows)
    try:
        assert terminal.wait() == 0, terminal.text
        the_demo_was_seen(terminal)
    finally:
        terminal.close()


def test_a_demo_that_is_interrupted_leaves_no_agent_and_no_folder(place: Place, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    terminal = Terminal(place.root, place.env | {"TMPDIR": str(temporary)}, "demo")
    try:
        terminal.shows(r"● calculator-\w+ .*working")
        terminal.press(b"\x03")

        assert terminal.wait() == 130
        assert "its agents are stopped" in terminal.text and "Traceback" not in terminal.text
        assert "agents run on" not in terminal.text and "reconcile apply" not in terminal.text
        assert list(temporary.iterdir()) == []
        assert not [path for path in Path("/proc").glob("[0-9]*/environ") if marked(path, temporary)]
    finally:
        terminal.close()


def test_a_demo_with_a_page_ends_with_ctrl_c_as_one_without(place: Place, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    terminal = Terminal(place.root, place.env | {"TMPDIR": str(temporary)}, "demo", "--ui", columns=200)
    try:
        terminal.shows(r"/enter\?token=\S+\s")
        found = re.search(r"http://\S+", terminal.text)
        assert found
        urlopen(found[0]).close()
        terminal.shows("StartAgent")
        terminal.press(b"\x03")
        assert terminal.wait() == 130
        assert "No such process" not in terminal.text and "agents are stopped" in terminal.text
        assert list(temporary.iterdir()) == []
    finally:
        terminal.close()


def test_a_demo_that_is_ended_before_its_agents_begin_leaves_no_folder(place: Place, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    place.env["TMPDIR"] = str(temporary)
    demo = place.start("demo")
    until(lambda: list(temporary.iterdir()), by=demo)
    demo.terminate()
    ended(demo)

    assert demo.returncode == 143
    assert list(temporary.iterdir()) == []


def marked(environ: Path, folder: Path) -> bool:
    try:
        return f"RECONCILE_RUN={folder}".encode() in environ.read_bytes()
    except OSError:
        return False
