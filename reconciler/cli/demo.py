"""`demo`: the whole of it, in a folder that nobody minds."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import click

from reconciler import manifest, wiring
from reconciler.cli import called
from reconciler.cli.session import AGENTS_RUN_ON
from reconciler.demo import Demo
from reconciler.demo.recovery import SCENARIOS, played
from reconciler.model.errors import PermanentError, ReconcileError, UsageError

INTERRUPTED = 128  # and the number of the signal


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the repository to look at")
@click.option("--recovery", is_flag=True, help="Kill it in seven ways instead, and see it recover from each")
@click.option("--ui", is_flag=True, help="On a page, with two changes for you to approve; until Ctrl-C")
def demo_command(keep: bool, recovery: bool, ui: bool) -> int:
    """Watch scripted agents do six tasks in a throwaway repository, and recover from what goes wrong."""
    if ui and recovery:
        raise UsageError("--ui and --recovery are two demos; name one")
    with _folder(keep) as folder:
        if recovery:
            return _recoveries(folder)
        demo = Demo(folder, wiring.environ())
        began = time.monotonic()
        click.echo(f"six tasks, three scripted agents, in {folder}\n")
        demo.make(manifest.shipped_examples() / "demo", approvals=ui)
        code = _on_a_page(demo) if ui else _work(demo)
        if not code:
            _tell(demo)
            click.echo(f"\ndone in {time.monotonic() - began:.1f} s")
        if keep:
            click.echo(f"the repository is {demo.repository}")
    return code


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    """A folder for as long as the demo lasts, however that ends: only where it went wrong there is something to look at."""
    # The one who ends us between the making and the first line that minds it would leave it there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    folder = Path(tempfile.mkdtemp(prefix="reconcile-demo-"))
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield folder
    except ReconcileError:
        raise
    except BaseException:
        # Pressed again: it is soon over.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        for _ in range(40):  # a git that was just running there may still be writing
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.05)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if not keep:
        shutil.rmtree(folder)


def _work(demo: Demo, until: Sequence[str] = ("--until-done",)) -> int:
    """Bring the epic to its end as a person would, who sees on a terminal what `watch` shows there; its exit status.

    Raises PermanentError where it does not end well. The one who interrupts it leaves no agent behind.
    """
    token = AGENTS_RUN_ON.set(False)
    try:
        with chdir(demo.repository):
            code = called(["watch", "-f", "epic.yaml", *until])
    finally:
        AGENTS_RUN_ON.reset(token)
    if not code:
        return 0
    demo.stop()
    if code > INTERRUPTED:
        click.echo("the demo was interrupted: its agents are stopped", err=True)
        return code
    raise PermanentError(f"the demo did not end well (exit status {code})", hint=f"what is left is in {demo.folder}")


def _on_a_page(demo: Demo) -> int:
    """The same, on a page that a person opens first and closes last."""
    opened = threading.Event()

    def say(line: str) -> None:
        click.echo(line)
        if line.startswith("opened"):
            opened.set()

    with demo.page(say):
        click.echo("the agents begin once the page is open; Ctrl-C ends it")
        while not opened.wait(0.2):
            pass  # an interrupt is heard between two waits
        return _work(demo, until=())


def _recoveries(folder: Path) -> int:
    """Play every scenario, a line each; 1 where a promise was not kept."""
    broken = 0
    for number, (scenario, wrong) in enumerate(played(folder, wiring.environ()), 1):
        broken += bool(wrong)
        mark = click.style("FAILED", fg="red") if wrong else click.style("ok", fg="green")
        click.echo(
            f"{number}  {mark}  killed: {scenario.killed}; {scenario.promised}" + (f": {wrong}" if wrong else "")
        )
    click.echo(f"{len(SCENARIOS) - broken} of {len(SCENARIOS)} recoveries as promised")
    return 1 if broken else 0


def _tell(demo: Demo) -> None:
    click.echo("\nmain, newest first:\n")
    click.echo("".join(f"  {line}\n" for line in demo.log().splitlines()))
    click.echo("what went wrong on the way, and how it recovered:\n")
    for line in demo.recovered():
        click.echo(f"  {line}")
