"""`demo`: the whole of it, in a folder that nobody minds."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import click

from reconciler import manifest, wiring
from reconciler.demo import Demo


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the repository to look at")
def demo_command(keep: bool) -> int:
    """Watch scripted agents do six tasks in a throwaway repository, and see what goes wrong mended."""
    folder = Path(tempfile.mkdtemp(prefix="reconcile-demo-"))
    demo = Demo(folder, wiring.environ())
    began = time.monotonic()
    click.echo(f"six tasks, three scripted agents, in {folder}\n")
    demo.make(manifest.shipped_examples() / "demo")
    demo.work()
    click.echo("\nmain, newest first:\n")
    click.echo("".join(f"  {line}\n" for line in demo.log().splitlines()))
    click.echo("what went wrong on the way, and was mended:\n")
    for line in demo.recovered():
        click.echo(f"  {line}")
    click.echo(f"\ndone in {time.monotonic() - began:.1f} s")
    if keep:
        click.echo(f"the repository is {demo.repository}")
    else:
        shutil.rmtree(folder)
    return 0
