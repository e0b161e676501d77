"""What runs on this machine find around them: their environment, and the programs on its PATH."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from reconciler.model.desired import EpicSpec
from reconciler.model.errors import ReconcileError
from reconciler.model.names import RunKind
from reconciler.model.ports import Agent, RunSpec
from reconciler.runners import supervisor
from reconciler.runners._records import VERDICT
from reconciler.system import shell
from reconciler.system.environment import path_with, with_passed, with_plain_git

HELP_S = 10.0
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


class Environments:
    """Those of the runs of one repository. `program`: the folder of ours; `always`: what every run gets."""

    def __init__(
        self,
        environ: Mapping[str, str],
        program: Path,
        always: Callable[[], Mapping[str, str]],
        agents: Mapping[str, Agent],
    ) -> None:
        self._environ, self._program, self._always, self._agents = environ, program, always, agents
        self._helps: dict[tuple[str, int, int, int], str] = {}

    def missing(self, spec: EpicSpec) -> str | None:
        """Why this manifest's agent can't be started here; None when it can."""
        agent, known = spec.agent, self._agents.get(spec.agent.kind)
        program = (known.program if known else None) or next(iter(agent.argv), "")
        if not program:
            return "spec.agent.argv names no program"
        if "{" in program:
            return None
        env = with_passed(self._environ, agent.env, agent.pass_env)
        if "/" in program:
            if shutil.which(str(Path(spec.repository, program))) is None:
                return f"the program {program!r} is missing or can't be executed"
        elif shutil.which(program, path=self._path(env)) is None:
            return f"the program {program!r} is not on the agent's PATH"
        return known.unfit(env, root=os.geteuid() == 0) if known else None

    def lacking(self, spec: EpicSpec, programs: Iterable[str]) -> tuple[str, ...]:
        """Those of these programs that are not on the PATH of this manifest's checks."""
        path = self._path({**self._environ, **spec.agent.env})
        return tuple(each for each in programs if shutil.which(each, path=path) is None)

    def takes(self, spec: EpicSpec, option: str) -> bool:
        """False where the program of this manifest's agent lists its options, and this is none of them."""
        env = with_passed(self._environ, spec.agent.env, ())
        path = shutil.which(spec.agent.program, path=self._path(env))
        options = _OPTION.findall(self._help(path, env)) if path else []
        return not options or option in options  # what lists none has not said no

    def _help(self, path: str, env: Mapping[str, str]) -> str:
        """What a program prints of its options; it is asked once, as long as its file is the same."""
        with suppress(OSError, ReconcileError):
            found = os.stat(path)
            key = path, found.st_ino, found.st_size, found.st_mtime_ns
            if key not in self._helps:
                self._helps[key] = ""  # one that does not answer is not asked again either
                self._helps[key] = shell.run((path, "--help"), env=env, cwd="/", timeout_s=HELP_S).text
            return self._helps[key]
        return ""

    def temporary(self, spec: RunSpec) -> str:
        """The folder that a check is to have for what is temporary, and that goes with it; empty for what is no check.

        Short, and where others are: the name of a socket in it may have a hundred characters.
        """
        if spec.id.kind is not RunKind.CHECK:
            return ""
        return os.path.join(self._given(spec).get("TMPDIR") or "/tmp", f"reconcile-{secrets.token_hex(6)}")

    def of(self, spec: RunSpec, folder: Path) -> dict[str, str]:
        """The environment of a run whose folder is this."""
        given = self._given(spec)
        env = {
            **given,
            "PATH": self._path(given),
            "PWD": spec.cwd,
            "RECONCILE_RUN": str(spec.id),
            supervisor.MARKER: str(folder),
        }
        # Who judges a change sees what was committed, whatever its author has set up in the repository. A check's own hooks are
        # left alone: what it tests may be some.
        if spec.id.kind is not RunKind.WORK:
            env = with_plain_git(env, core_fsmonitor="false")
        if spec.id.kind is RunKind.REVIEW:
            env = with_plain_git(env, core_hooksPath="/dev/null") | {"RECONCILE_VERDICT": str(folder / VERDICT)}
        return {**env, "RECONCILE_PROMPT": str(folder / "prompt")} if spec.prompt else env

    def _given(self, spec: RunSpec) -> dict[str, str]:
        return {**self._always(), **with_passed(self._environ, spec.env, spec.pass_env)}

    def _path(self, env: Mapping[str, str]) -> str:
        return path_with(env.get("PATH"), str(self._program))
