"""`service install|status|uninstall`: the watch of this repository, started at login and again whenever it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from reconciler import wiring
from reconciler.cli.metrics_file import metrics_path
from reconciler.cli.output import Output, common, here, looking
from reconciler.model.errors import PermanentError, UsageError
from reconciler.render import safe
from reconciler.system.scopes import Scopes
from reconciler.system.services import Service, ServiceManager, manager_of
from reconciler.wiring import Site

_LINGER = "it ends when you log out; 'loginctl enable-linger' has it go on, and start with the machine"
_APART = "each run has a cgroup of its own: what ends the service, or one run, ends no other"
_TOGETHER = (
    "runs {} the service's cgroup, as there are no scopes ({}): KillMode=process and OOMPolicy=continue keep them alive"
)
_OTHERWISE = "'reconcile watch' works without one: in tmux, for example, it goes on when you log out"


@click.group("service")
def service_command() -> None:
    """The watch of this repository as a service of yours: systemd's user units, or launchd."""


@service_command.command("install")
@click.option("--print", "only_print", is_flag=True, help="Print the unit instead, and change nothing")
@click.option("--metrics", type=click.Path(dir_okay=False), metavar="FILE.prom", help="As 'watch --metrics'")
@common
def install_command(only_print: bool, metrics: str | None, out: Output) -> int:
    """Write the unit, start it, and have it started at every login. Again: with what is here now. Refused inside a run."""
    environ = wiring.environ()
    if not only_print:
        wiring.refuse_agents(environ, "service install")
    site, manager = here(), manager_of(sys.platform, environ)
    service = _service(site, environ, metrics)
    if only_print:
        document = {"file": str(manager.file(service)), "text": manager.text(service)}
        out.answer(document, lambda: manager.text(service).rstrip("\n"))
        return 0
    if not site.desired().epics:
        raise UsageError("no manifest is applied here, so a watch would end at once", hint="reconcile apply -f FILE")
    if why := manager.missing():
        raise PermanentError(
            f"{manager.name} can't be used: {why}", hint="'reconcile service install --print' shows the unit"
        )
    manager.install(service)
    _chat(out, _state(manager, service, Scopes(environ)))
    return out.acted(
        site, "InstallService", None, f"installed {manager.file(service)}; 'reconcile service status' shows it"
    )


@service_command.command("status", short_help="Show whether the service is installed and runs.")
@common
@looking
def status_command(out: Output) -> int:
    """Show whether the service is installed and runs, and what it means for the agents."""
    environ = wiring.environ()
    site, manager = here(), manager_of(sys.platform, environ)
    found = _state(manager, _service(site, environ, None), Scopes(environ))
    out.answer(found, lambda: "\n".join(_lines(found)))
    return 0 if found["state"] == "active" else 1


@service_command.command("uninstall")
@common
def uninstall_command(out: Output) -> int:
    """Stop the service and remove its unit. Agents run on. Refused inside a run."""
    environ = wiring.environ()
    wiring.refuse_agents(environ, "service uninstall")
    site, manager = here(), manager_of(sys.platform, environ)
    service = _service(site, environ, None)
    if not manager.file(service).exists():
        raise UsageError(f"no service is installed for {site.repository.main}")
    if why := manager.missing():
        raise PermanentError(f"{manager.name} can't be used: {why}", hint=f"rm {manager.file(service)}")
    manager.uninstall(service)
    return out.acted(site, "UninstallService", None, f"removed {manager.file(service)}; agents run on")


def _service(site: Site, environ: dict[str, str], metrics: str | None) -> Service:
    script = Path(sys.executable).parent / "reconcile"
    # Without -P, python would look for modules in the repository first.
    program = [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-P", "-m", "reconciler"]
    more = ["--metrics", str(metrics_path(metrics))] if metrics else []
    return Service(
        folder=site.repository.main,
        argv=[*program, "watch", *more],
        path=environ.get("PATH", os.defpath),
        scopes=Scopes(environ).found()[0] is not None,
    )


def _state(manager: ServiceManager, service: Service, scopes: Scopes) -> dict[str, Any]:
    file, missing = manager.file(service), manager.missing()
    running = None if missing or not file.exists() else manager.running(service)
    found, why = scopes.found()
    return {
        "manager": manager.name,
        "missing": missing,
        "file": str(file) if file.exists() else None,
        "state": running.state if running else "not installed" if not file.exists() else "unknown",
        "pid": running.pid if running else None,
        "since": running.since if running else None,
        "lingers": running.lingers if running else None,
        "scopes": found is not None,
        "withoutScopes": None if found else why,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    where = f" ({found['file']})" if found["file"] else ""
    pid = f", pid {found['pid']}, since {found['since']}" if found["pid"] else ""
    apart = (
        _APART
        if found["scopes"]
        else _TOGETHER.format("share" if found["file"] else "would share", found["withoutScopes"])
    )
    return [
        safe.line(f"service: {found['state']}{pid}{where}"),
        *([safe.line(f"{found['manager']} can't be used: {found['missing']}"), _OTHERWISE] if found["missing"] else []),
        *([_LINGER] if found["lingers"] is False and found["manager"] == "systemd" else []),
        *([safe.line(apart)] if found["manager"] == "systemd" else []),
    ]


def _chat(out: Output, found: dict[str, Any]) -> None:
    for line in _lines(found)[1:]:
        out.chat(line)
