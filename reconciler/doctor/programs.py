"""Programs beside git: whether they are there, which version, and whether they are logged in.

Only what a recorded manifest or the task store asks for is needed. What a program prints is read as data; it is asked in
an empty folder, so that it finds no repository to act on.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from msgspec import Struct

from reconciler.doctor.findings import Diagnosis, Probe, State
from reconciler.doctor.scene import Scene
from reconciler.loop.teller import hindrances
from reconciler.model import agent_kinds
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.errors import ReconcileError
from reconciler.system import shell
from reconciler.system.shell import Finished
from reconciler.trackers.beads.server import other_server
from reconciler.trackers.beads.versions import TROUBLES, Trouble, Version

ASK_S = 8.0
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_ACCOUNT = re.compile(r"Logged in to (\S+) (?:account|as) (\S+)")
# None of these is to send anything home, look for a newer self, start a daemon or ask a question.
_QUIET = {
    "AIDER_ANALYTICS": "false",
    "AIDER_CHECK_UPDATE": "false",
    "BD_METRICS_DISABLED": "true",
    "BD_NO_DAEMON": "1",
    "BEADS_NO_DAEMON": "1",
    "BD_NON_INTERACTIVE": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "GH_NO_EXTENSION_UPDATE_NOTIFIER": "1",
    "GH_NO_UPDATE_NOTIFIER": "1",
    "GH_PROMPT_DISABLED": "1",
    "GH_TELEMETRY": "false",
    "NO_COLOR": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
}


class LoginProbe(Struct, frozen=True, kw_only=True):
    """How a program is asked whether it is logged in: exit status 0 says yes. `since`: older ones can't be asked.

    `keys`: variables that do instead. `how`: what to run. One that can't be asked leaves `files` in the home folder.
    """

    how: str
    ask: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    since: Version = (0, 0, 0)
    keys: tuple[str, ...] = ()


class Program(Struct, frozen=True, kw_only=True):
    name: str
    used_for: str
    version: tuple[str, ...] = ("--version",)
    login: LoginProbe | None = None
    troubles: tuple[Trouble, ...] = ()


def _agent(kind: AgentKind, known: agent_kinds.Login) -> Program:
    how = known.command or f"export {known.keys[0]}=…"
    login = LoginProbe(how=how, ask=known.ask, files=known.files, since=known.since, keys=known.keys)
    return Program(name=kind, used_for="agents that run it", login=login)


PROGRAMS = (
    Program(name="bd", used_for="tasks in a Beads database", version=("version",), troubles=TROUBLES),
    Program(name="br", used_for="tasks that beads_rust keeps"),
    Program(
        name="gh",
        used_for="pull requests on GitHub",
        login=LoginProbe(ask=("auth", "status"), how="gh auth login", keys=("GH_TOKEN", "GITHUB_TOKEN")),
    ),
    *(_agent(kind, login) for kind in AgentKind if (login := kind.row.login)),
)


def probes(scene: Scene) -> Iterator[Probe]:
    """One probe per program."""
    for program in PROGRAMS:
        yield Probe(name=program.name, look=partial(_looked, program, scene), limit_s=2 * ASK_S + 4)
    yield Probe(name="notify", look=partial(_notified, scene))


def _looked(program: Program, scene: Scene) -> Iterator[Diagnosis]:
    yield _finding(_Asked(program, scene, _needs(scene).get(program.name, "")))


def _notified(scene: Scene) -> Iterator[Diagnosis]:
    """Whether those whom the manifests notify could be reached from here."""
    if not any(spec.notify for spec in scene.epics):
        return
    bad = hindrances(scene.epics, scene.environ)
    for to, why in bad.items():
        hint = "the watch needs it where it runs; 'reconcile notify test' tries it"
        yield Diagnosis(
            name="notify", state=State.WARNING, found=to, message=f"can't be reached from here: {why}", hint=hint
        )
    if not bad:
        yield Diagnosis(name="notify", message="everybody could be reached from here")


def _needs(scene: Scene) -> Mapping[str, str]:
    """The programs that must be there, and why."""
    agents = ((spec, spec.agent, "agents") for spec in scene.epics)
    reviewing = ((spec, spec.reviewing, "reviewers") for spec in scene.epics if spec.merge.reviewed_by_agents)
    # With a PATH of its own an agent may have what we don't see.
    found = {
        Path(agent.program).name: f"the {who} of {spec.name} are this program"
        for spec, agent, who in (*agents, *reviewing)
        if agent.program and "PATH" not in agent.env
    }
    if there := _github(scene):
        found["gh"] = f"pull requests are on GitHub ({there})"
    if database := _database(scene):
        found["bd"] = f"the tasks are in a Beads database ({database})"
    return found


def _github(scene: Scene) -> str | None:
    try:
        there = scene.site.chosen.choice.there if scene.site and scene.epics else None
    except ReconcileError:
        return None  # shown with the manifests themselves
    return str(there) if there else None


def _database(scene: Scene) -> str | None:
    try:
        return scene.site.database() if scene.site else None
    except ReconcileError:
        return None  # shown with the tasks themselves


class _Asked(Struct, frozen=True):
    """A program, and why it is needed; empty where it is not."""

    program: Program
    scene: Scene
    why: str

    @property
    def bad(self) -> State:
        return State.PROBLEM if self.why else State.WARNING

    def run(self, path: str, args: tuple[str, ...]) -> Finished:
        env = {**self.scene.environ, **_QUIET}
        return shell.run((path, *args), env=env, cwd=self.scene.aside, timeout_s=ASK_S)


def _finding(asked: _Asked) -> Diagnosis:
    name, used_for = asked.program.name, asked.program.used_for
    path = shutil.which(name, path=asked.scene.path)
    if path is None:
        if asked.why:
            message, hint = f"not found, and needed: {asked.why}", f"install {name}, or put it on the PATH"
            return Diagnosis(name=name, state=State.PROBLEM, message=message, hint=hint)
        return Diagnosis(name=name, message=f"not there, and not needed: only for {used_for}")
    try:
        finished = asked.run(path, asked.program.version)
    except ReconcileError as error:
        hint = f"run '{name} {' '.join(asked.program.version)}' yourself"
        return Diagnosis(name=name, state=asked.bad, found=path, message=str(error), hint=hint)
    version = _version_in(finished)
    if version is None:
        first = (finished.out + b"\n" + finished.err).decode("utf-8", "replace").strip().partition("\n")[0][:80]
        message = f"it does not say its version, but {first!r} (exit status {finished.code})"
        return Diagnosis(name=name, state=asked.bad, found=path, message=message, hint=f"is this the right {name}?")
    return _installed(asked, path, version)


def _installed(asked: _Asked, path: str, version: Version) -> Diagnosis:
    name, found = asked.program.name, f"{'.'.join(map(str, version))} ({path})"
    troubles = [each for each in asked.program.troubles if each.first <= version < each.fixed]
    if troubles:
        finished, hint = "; ".join(each.what for each in troubles), f"install another version of {name}"
        refused = bool(asked.why) and any(each.refused for each in troubles)
        message = f"{finished}; and it is needed: {asked.why}" if refused else finished
        state = State.PROBLEM if refused else State.WARNING
        return Diagnosis(name=name, state=state, found=found, message=message, hint=hint)
    if name == "bd" and asked.scene.site and (served := other_server(asked.scene.site.beads, version)):
        return Diagnosis(name=name, state=State.WARNING, found=found, message=served.what, hint=served.ends)
    login = asked.program.login
    if login is None or version < login.since:
        return Diagnosis(name=name, found=found)
    return _with_login(asked, login, path, found) if login.ask else _by_traces(asked, login, found)


def _by_traces(asked: _Asked, login: LoginProbe, found: str) -> Diagnosis:
    """What a login of a program that can't be asked has left here. Whether it is good is for its server to say."""
    name, home = asked.program.name, asked.scene.environ.get("HOME")
    if home and (file := next((file for file in login.files if Path(home, file).is_file()), None)):
        return Diagnosis(name=name, found=found, message=f"configured in ~/{file}")
    if key := next((key for key in login.keys if asked.scene.environ.get(key)), None):
        return Diagnosis(name=name, found=found, message=f"${key} is set")
    if asked.why:
        message = f"no sign of a login, and needed: {asked.why}"
        return Diagnosis(name=name, state=State.WARNING, found=found, message=message, hint=login.how)
    return Diagnosis(name=name, found=found, message=f"no sign of a login; only needed for {asked.program.used_for}")


def _with_login(asked: _Asked, login: LoginProbe, path: str, found: str) -> Diagnosis:
    name = asked.program.name
    try:
        finished = asked.run(path, login.ask)
    except ReconcileError as error:
        message = f"whether it is logged in is not known: {error}"
        hint = f"run '{name} {' '.join(login.ask)}' yourself"
        return Diagnosis(name=name, state=State.WARNING, found=found, message=message, hint=hint)
    if finished.code == 0:
        account = _ACCOUNT.search((finished.out + finished.err).decode("utf-8", "replace"))
        who = f" to {account[1]} as {account[2]}" if account else ""
        return Diagnosis(name=name, found=found, message=f"logged in{who}")
    if key := next((key for key in login.keys if asked.scene.environ.get(key)), None):
        # Some do not look at it for this question, others found that it is worth nothing.
        message, hint = f"not logged in; ${key} is set", f"make sure that ${key} is good, or run '{login.how}'"
        return Diagnosis(
            name=name, state=State.WARNING if asked.why else State.OK, found=found, message=message, hint=hint
        )
    if asked.why:
        message = f"not logged in, and needed: {asked.why}"
        return Diagnosis(name=name, state=State.PROBLEM, found=found, message=message, hint=login.how)
    return Diagnosis(name=name, found=found, message=f"not logged in; only needed for {asked.program.used_for}")


def _version_in(finished: Finished) -> Version | None:
    """The first thing that looks like a version in what a program printed; None where it failed."""
    for stream in (finished.out, finished.err) if finished.code == 0 else ():
        if found := _VERSION.search(stream[:2000].decode("utf-8", "replace")):
            return int(found[1][:9]), int(found[2][:9]), int((found[3] or "0")[:9])
    return None
