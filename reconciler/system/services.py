"""The watch as a service of the user: a unit of systemd, or an agent of launchd. Their texts, and the commands that load them."""

from __future__ import annotations

import hashlib
import os
import plistlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.system import files, shell
from reconciler.system.scopes import ALWAYS, NEVER, VARIABLE

WATCHDOG = "10min"
LIMIT_S = 30.0
# Codes of ours after which a new start changes nothing: what was typed is wrong, or nothing is applied.
USELESS = 2


class Service(Struct, frozen=True, kw_only=True):
    """What is to run: `argv` in `folder`, found by `path`. `scopes`: each run gets a cgroup of its own."""

    folder: Path
    argv: Sequence[str]
    path: str
    scopes: bool

    @property
    def name(self) -> str:
        """One service for each repository."""
        found = re.sub(r"[^A-Za-z0-9]+", "-", self.folder.name).strip("-")[:40] or "repository"
        return f"reconcile-{found}-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:8]}"


class Running(Struct, frozen=True, kw_only=True):
    """How a service stands, in the words of its manager."""

    state: str  # active, inactive, failed
    pid: int | None = None
    since: str = ""
    lingers: bool | None = None  # it goes on when its user logs out; None: that is not known


class ServiceManager(Protocol):
    """Who runs services for a user."""

    name: str

    def missing(self) -> str | None:
        """Why it can't be used here; None when it can."""
        ...

    def file(self, service: Service) -> Path:
        """Where the service is described."""
        ...

    def text(self, service: Service) -> str:
        """Its description."""
        ...

    def install(self, service: Service) -> None:
        """Describe it, start it, and have it started from now on. Raises ReconcileError, OSError."""
        ...

    def uninstall(self, service: Service) -> None:
        """Stop it and forget it."""
        ...

    def running(self, service: Service) -> Running:
        """How it stands."""
        ...


class Systemd(Struct):
    """The user's own systemd."""

    environ: Mapping[str, str]
    name: str = "systemd"

    def missing(self) -> str | None:
        if shutil.which("systemctl", path=self.environ.get("PATH")) is None:
            return "there is no systemctl"
        try:
            done = self._run("systemctl", "--user", "show-environment")
        except ReconcileError as error:
            return str(error)
        return f"no systemd of this user answers: {done.complaint}" if done.code else None

    def file(self, service: Service) -> Path:
        config = self.environ.get("XDG_CONFIG_HOME") or f"{self.environ.get('HOME', '')}/.config"
        return Path(config, "systemd", "user", f"{service.name}.service")

    def text(self, service: Service) -> str:
        if service.scopes:
            apart = ["KillMode=mixed", f"Environment={VARIABLE}={ALWAYS}"]
        else:
            apart = ["KillMode=process", "OOMPolicy=continue", f"Environment={VARIABLE}={NEVER}"]
        return "\n".join(
            (
                "# Written by 'reconcile service install', which replaces it; 'systemctl --user edit' adds to it.",
                "[Unit]",
                f"Description=reconcile watch in {_literal(str(service.folder))}",
                "StartLimitIntervalSec=0",
                "",
                "[Service]",
                "Type=notify",
                f"WorkingDirectory={_literal(str(service.folder))}",
                f"ExecStart={' '.join(map(_word, service.argv))}",
                f"Environment={_quoted(f'PATH={service.path}')}",
                "EnvironmentFile=-%h/.config/reconcile/environment",
                f"WatchdogSec={WATCHDOG}",
                "TimeoutStartSec=10min",
                "Restart=always",
                "RestartSec=5s",
                f"RestartPreventExitStatus={USELESS}",
                "SuccessExitStatus=143",
                *apart,
                "",
                "[Install]",
                "WantedBy=default.target",
                "",
            )
        )

    def install(self, service: Service) -> None:
        unit = self.file(service)
        unit.parent.mkdir(parents=True, exist_ok=True)
        files.replace(unit, self.text(service), mode=0o644)
        self._ctl("daemon-reload")
        self._ctl("enable", unit.name)
        self._ctl("restart", "--no-block", unit.name)

    def uninstall(self, service: Service) -> None:
        unit = self.file(service)
        self._ctl("disable", "--now", unit.name)
        unit.unlink(missing_ok=True)
        self._ctl("daemon-reload")

    def running(self, service: Service) -> Running:
        asked = "--property=ActiveState,MainPID,ActiveEnterTimestamp"
        done = self._run("systemctl", "--user", "show", asked, self.file(service).name)
        if done.code:
            raise PermanentError(f"systemctl: {done.complaint}")
        found = dict(line.partition("=")[::2] for line in done.text.splitlines())
        pid = found.get("MainPID", "")
        return Running(
            state=found.get("ActiveState", "unknown"),
            pid=int(pid) if pid.isdecimal() and pid != "0" else None,
            since=found.get("ActiveEnterTimestamp", ""),
            lingers=self._lingers(),
        )

    def _lingers(self) -> bool | None:
        try:
            done = self._run("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value")
        except ReconcileError:
            return None
        return {"yes": True, "no": False}.get(done.text.strip()) if done.code == 0 else None

    def _ctl(self, *words: str) -> None:
        done = self._run("systemctl", "--user", *words)
        if done.code:
            raise PermanentError(f"systemctl --user {' '.join(words)}: {done.complaint}")

    def _run(self, *argv: str) -> shell.Finished:
        return shell.run(argv, env=self.environ, timeout_s=LIMIT_S)


class Launchd(Struct):
    """The user's launchd, on macOS."""

    environ: Mapping[str, str]
    name: str = "launchd"

    def missing(self) -> str | None:
        found = shutil.which("launchctl", path=self.environ.get("PATH"))
        return None if found else "there is no launchctl"

    def file(self, service: Service) -> Path:
        return Path(self.environ.get("HOME", ""), "Library", "LaunchAgents", f"{service.name}.plist")

    def text(self, service: Service) -> str:
        fields = {
            "Label": service.name,
            "ProgramArguments": list(service.argv),
            "WorkingDirectory": str(service.folder),
            "EnvironmentVariables": {"PATH": service.path},
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 30,
            "AbandonProcessGroup": True,  # agents run on when it ends
            "StandardErrorPath": self._log(service),
            "StandardOutPath": self._log(service),
        }
        return plistlib.dumps(fields).decode()

    def install(self, service: Service) -> None:
        agent = self.file(service)
        agent.parent.mkdir(parents=True, exist_ok=True)
        files.replace(agent, self.text(service), mode=0o644)
        self._run("launchctl", "bootout", self._target(service))
        done = self._run("launchctl", "bootstrap", f"gui/{os.getuid()}", str(agent))
        if done.code:
            raise PermanentError(f"launchctl bootstrap: {done.complaint}")

    def uninstall(self, service: Service) -> None:
        self._run("launchctl", "bootout", self._target(service))
        self.file(service).unlink(missing_ok=True)

    def running(self, service: Service) -> Running:
        done = self._run("launchctl", "print", self._target(service))
        found = re.search(r"^\s*pid = ([0-9]+)$", done.text, re.MULTILINE)
        return Running(state="active" if found else "inactive", pid=int(found[1]) if found else None, lingers=False)

    def _target(self, service: Service) -> str:
        return f"gui/{os.getuid()}/{service.name}"

    def _log(self, service: Service) -> str:
        return f"{self.environ.get('HOME', '')}/Library/Logs/{service.name}.log"

    def _run(self, *argv: str) -> shell.Finished:
        return shell.run(argv, env=self.environ, timeout_s=LIMIT_S)


def manager_of(platform: str, environ: Mapping[str, str]) -> ServiceManager:
    """The manager that a system has."""
    return Launchd(environ) if platform == "darwin" else Systemd(environ)


def _literal(text: str) -> str:
    """A text in a unit, as it is: % begins a specifier there."""
    if "\n" in text or "\r" in text:
        raise PermanentError(f"the path {text!r} can't stand in a unit of systemd")
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    r"""A text in a unit, as one word.

    >>> print(_quoted('50% of "x"'))
    "50%% of \"x\""
    """
    escaped = _literal(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _word(text: str) -> str:
    """A word of a command line in a unit, where $ begins a variable."""
    return _quoted(text).replace("$", "$$")
