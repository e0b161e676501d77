"""`notify test`: find out whether those whom the watch would tell can be reached."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from reconciler import wiring
from reconciler.cli.output import Output, common, here
from reconciler.loop.teller import message_of
from reconciler.manifest.findings import not_applied
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import UsageError
from reconciler.model.notify import Notify, Telling
from reconciler.planning.notices import Letter, Notice, is_quiet, recipient
from reconciler.render import safe
from reconciler.system import messenger


@click.group("notify")
def notify_command() -> None:
    """Notifications, as 'notify' in a manifest asks for them. The watch sends them."""


@notify_command.command("test", short_help="Send a test message to every recipient.")
@click.argument("name", required=False)
@common
def test_command(name: str | None, out: Output) -> int:
    """Send a test message to every recipient of the applied manifests, or of the one NAMEd.

    Variables come from the environment of this command; those of a watch may differ. Refused inside a run.
    """
    environ = wiring.environ()
    wiring.refuse_agents(environ, "notify test")
    specs = here().desired().epics
    names = [spec.name for spec in specs]
    if name is not None and name not in names:
        raise not_applied(name, names)
    asking = {recipient(rule): (spec, rule) for spec in specs if name in (None, spec.name) for rule in spec.notify}
    if not asking:
        raise UsageError("no applied manifest notifies anybody", hint="'reconcile explain notify' says how one does")
    now = datetime.now(UTC).astimezone()
    sent = [_test_message(spec, rule, environ, now) for spec, rule in asking.values()]
    out.answer(sent, lambda: "\n".join(_line(each) for each in sent))
    return 0 if all(each["error"] is None for each in sent) else 1


def _test_message(spec: EpicSpec, rule: Notify, environ: dict[str, str], now: datetime) -> dict[str, str | None]:
    notice = Notice(
        manifest=spec.name, event=Telling.NEEDS_HUMAN, key="test", message="this is a test; nothing is wrong"
    )
    letter = Letter(to=recipient(rule), rule=rule, notices=(notice,))
    error = messenger.deliver(message_of(letter), environ)
    return {
        "to": rule.shown,
        "manifest": spec.name,
        "error": error,
        "quiet": rule.quiet if is_quiet(rule, now) else None,
    }


def _line(sent: dict[str, str | None]) -> str:
    to = safe.line(str(sent["to"]))
    quiet = f"; these are quiet hours ({sent['quiet']}), in which the watch sends nothing" if sent["quiet"] else ""
    return f"{to}: {safe.line(sent['error'])}{quiet}" if sent["error"] else f"{to}: sent{quiet}"
