"""`pr`: look at the pull requests, wherever they live. Nothing is changed, and nothing of the repository's is run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import click
from msgspec import Struct
from rich.text import Text

from reconciler import wiring
from reconciler.cli import EXIT_NEEDS_PERSON
from reconciler.cli.output import Output, common, here, looking
from reconciler.cli.rows import Listing, entries, read_by, said_silent, silence
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import pull_number, task_known
from reconciler.loop.asking import ask
from reconciler.loop.loop import Tick
from reconciler.model.changes import Span
from reconciler.model.errors import PermanentError, UsageError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import PullRequest, PullState, Run, Unknown, known_or
from reconciler.model.pull_records import PullRecord
from reconciler.model.values import replace
from reconciler.render import listing, pulls, reviews
from reconciler.render.task_views import beneath_another, checks_by_task, view_of
from reconciler.wiring import Site


class ListedPull(Struct, frozen=True):
    """A pull request: what is kept about it, and how it stands now."""

    record: PullRecord
    seen: PullRequest


@click.group("pr")
def pr_command() -> None:
    """Work with the pull requests of tasks, local or on GitHub. A PR is named by its task or its number (7, '#7')."""


@pr_command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are merged or closed")
@common
@looking
def list_pulls(everything: bool, out: Output) -> int:
    """List the open pull requests."""
    site = here()
    found = listed(site, LoopSession(site=site, out=out).look())
    wanted = [row for row in found.rows if everything or row["state"] == PullState.OPEN]
    return replace(found, rows=wanted, what="pull requests" if everything else "open pull requests").answer(out)


@pr_command.command("show", short_help="Show one PR, and why it is not merged yet.")
@click.argument("pr")
@common
@looking
def show(pr: str, out: Output) -> int:
    """Show one PR: its commits and files, its reviews, and why it is not merged yet."""
    site = here()
    pull = _named(site, pr, out)
    tick = LoopSession(site=site, out=out).look()
    silent, entry = silence(tick), entries(tick).get(pull.record.task)
    unknown = [{"source": source, "message": why} for source, why in silent.items()]
    found = known_or(tick.observed.reviews, {})
    of_it = reviews.of_pull(pull.record, found.get(pull.record.task, ()))
    view = view_of(pull.record.task, tick.plan.epics, tick.observed)
    offer = view.reviewing if view and view.pull and view.pull.number == pull.record.number else None
    answers = reviews.listed(pull.record, of_it, read_by(site, of_it), pull.seen, offer)
    history = site.journal.events(pull.record.task)
    row = reviews.as_it_landed(_row(pull, entry, _tested(tick), silent), pull.record.task, history)
    shown = {**row, **_more(site, pull, entry), "reviews": answers, "unknown": unknown}
    said_silent(out, silent)
    out.answer(shown, lambda: pulls.show(shown))
    return EXIT_NEEDS_PERSON if silent else 0


@pr_command.command("diff", short_help="Print the diff of one PR.")
@click.argument("pr")
@common
@looking
def diff(pr: str, out: Output) -> int:
    """Print the diff of one PR, as 'git apply' takes it where it goes into a pipe."""
    site = here()
    pull = _named(site, pr, out)
    base, span = _span(site, pull, entries(LoopSession(site=site, out=out).look()).get(pull.record.task))
    terminal = sys.stdout.isatty()
    patch = site.forge.changes.patch(span, whole=not (terminal and out.for_people))
    if not patch:
        out.chat(f"#{pull.record.number} has no changes against {base}")
    if not out.for_people:
        text = patch.decode("utf-8", "replace")
        known = {"number": pull.record.number, "task": pull.record.task, "base": span.start, "head": span.head}
        out.answer({**known, "diff": text}, lambda: Text())
    elif terminal:
        text = patch.decode("utf-8", "replace").removesuffix("\n")
        for line in pulls.coloured(text) if text else ():
            click.echo(line, color=out.color)
    else:
        click.echo(patch, nl=False)
    return 0


# --- what 'get prs' needs too --------------------------------------------------------------------------------


def listed(site: Site, tick: Tick) -> Listing:
    """Every pull request there ever was, oldest first."""
    every, silent, known = ask(partial(_every, site)), silence(tick), entries(tick)
    if isinstance(every, Unknown):
        silent, every = {**silent, "forge": every.why}, []
    tested = _tested(tick)
    rows = [_row(pull, known.get(pull.record.task), tested, silent) for pull in every]
    return Listing(what="pull requests", rows=rows, table=listing.pull_requests, silent=silent)


def _every(site: Site) -> list[ListedPull]:
    return [ListedPull(record, seen) for record, seen in site.forge.every_pull_request()]


def meant(text: str, found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those rows that a person means by a task's id, or by a number where no task is called so."""
    rows_ = list(found)
    number = pull_number(text)
    by_task = [row for row in rows_ if row["task"] == text]
    return by_task or [row for row in rows_ if row["number"] == number]


def _named(site: Site, text: str, out: Output) -> ListedPull:
    every = {pull.record.number: pull for pull in _every(site)}
    known = [{"task": pull.record.task, "number": number} for number, pull in every.items()]
    found = meant(text, known)
    if not found and (task := task_known(site, text, out.chat)):
        found = meant(task, known)
    if not found:
        raise UsageError(f"{text} has no pull request", hint="'reconcile pr list --all' lists them all")
    return every[found[-1]["number"]]


Tested = tuple[Mapping[TaskId, Sequence[Run]], Mapping[Sha, PrNumber]]


def _tested(tick: Tick) -> Tested:
    """The checks of each task, and beneath whom a head has passed."""
    return checks_by_task(tick.observed), beneath_another(tick.observed)


def _row(
    pull: ListedPull,
    entry: Mapping[str, Any] | None,
    tested: Tested,
    silent: Mapping[str, str],
) -> dict[str, Any]:
    newest = entry and entry["pullRequest"] and entry["pullRequest"]["number"] == pull.record.number
    ran, top = tested[0].get(pull.record.task, ()), tested[1].get(pull.seen.head)
    mine = entry if newest else None
    return pulls.row(pull.seen, pull.record.title, mine, checks=ran, beneath=top, known=not silent)


def _more(site: Site, pull: ListedPull, entry: Mapping[str, Any] | None) -> dict[str, Any]:
    record, changes = pull.record, site.forge.changes
    base, span = _span(site, pull, entry)
    return {
        "body": record.body,
        "branch": record.branch,
        "base": base,
        "landed": record.landed,
        "method": record.method,
        "commits": [{"sha": commit.sha, "subject": commit.subject} for commit in changes.commits(span)],
        "files": [
            {"path": file.path, "status": file.kind, "added": file.added, "deleted": file.deleted}
            for file in changes.files(span)
        ],
    }


def _span(site: Site, pull: ListedPull, entry: Mapping[str, Any] | None) -> tuple[str, Span]:
    """Its base, and what it brings to it: to the one that it landed on, where it did."""
    name = _base(site, entry["manifest"] if entry else None)
    landed = pull.record.landed
    base: Sha = site.forge.changes.before(landed) if landed else site.forge.base(name, look=False).head
    return name, site.forge.changes.span(base, pull.seen.head)


def _base(site: Site, manifest: str | None) -> str:
    bases = {spec.name: spec.base for spec in site.desired().epics}
    if manifest in bases:
        return bases[manifest]
    only = set(bases.values())
    name = only.pop() if len(only) == 1 else wiring.locate(site.repository.main, wiring.environ()).default_base
    if name is None:
        raise PermanentError("no base branch is known here", hint="apply the manifest that the pull request is for")
    return name
