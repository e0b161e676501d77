"""Whether the checks of the manifests fail where there is nothing: one that passes there says nothing about a change.

Each is run in a new and empty repository outside of ours, for a moment: what takes longer finds something to do. `doctor` does so each
time; `apply` shows it once of each check, and what was learnt is kept.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.doctor.findings import Diagnosis, Probe, State, named
from reconciler.doctor.scene import Scene
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import ReconcileError
from reconciler.planning import check_programs
from reconciler.system import files, shell
from reconciler.system.environment import with_passed

EACH_S = 3.0
ALL_S = 9.0
AT_ONCE_S, ALL_AT_ONCE_S = 1.5, 4.0  # where somebody waits for something else
KEPT_MAX = 200
NAME = "empty tree"
_HINT = "have it fail where it finds nothing to test, or leave it out of mergePolicy.checks"


def probes(scene: Scene) -> Iterator[Probe]:
    """What is asked of the checks of every manifest, where there are any."""
    if any(_here(scene.epics)):
        yield Probe(name=NAME, look=lambda: _look(scene))


def _look(scene: Scene) -> Iterator[Diagnosis]:
    until, failed, well = time.monotonic() + ALL_S, 0, True
    tried: dict[object, bool | None] = {}
    for spec in _here(scene.epics):
        green = []
        for command in dict.fromkeys(spec.merge.commands):
            key = (command, *sorted(spec.agent.env.items()))
            if key not in tried:
                tried[key] = passes(command, spec, scene.environ, min(EACH_S, until - time.monotonic()))
            failed += tried[key] is False
            green += [command] if tried[key] else []
        if green:
            well = False
            message = "passes where there is nothing at all, and so proves nothing about a change"
            found = f"{spec.name}: {named(' '.join(each.split()) for each in green)}"
            yield Diagnosis(name=NAME, state=State.WARNING, found=found, message=message, hint=_HINT)
    if well and failed:
        yield Diagnosis(
            name=NAME,
            found="it fails there, as it is to" if failed == 1 else f"all {failed} fail there, as they are to",
        )


def green(specs: Sequence[EpicSpec], environ: Mapping[str, str], state: Path) -> Iterator[tuple[EpicSpec, str]]:
    """The checks of these manifests that pass there; of new ones it is found out, and kept in `state`.

    What passes by its words is not among them.
    """
    known, until, new = _known(state), time.monotonic() + ALL_AT_ONCE_S, False
    for spec in _here(specs):
        for command in spec.merge.commands:
            key = _key(command, spec)
            if not check_programs.always_green(command) and key not in known:
                known[key] = passes(command, spec, environ, min(AT_ONCE_S, until - time.monotonic())) is True
                new = True
            if known.get(key):
                yield spec, command
    if new:
        with suppress(OSError):  # it is found out again
            files.replace(_file(state), json.dumps(dict(list(known.items())[-KEPT_MAX:])))


def _here(specs: Iterable[EpicSpec]) -> Iterator[EpicSpec]:
    """Those whose checks run on this machine: what one needs may be nowhere but on its nodes."""
    return (spec for spec in specs if spec.merge.checks and spec.merge.runner.local)


def _known(state: Path) -> dict[str, bool]:
    try:
        kept = json.loads(_file(state).read_bytes())
        return {str(key): value is True for key, value in kept.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _file(state: Path) -> Path:
    return state / "empty-tree.json"


def _key(command: str, spec: EpicSpec) -> str:
    asked = (command, spec.surroundings, *(f"{name}={value}" for name, value in sorted(spec.agent.env.items())))
    return hashlib.sha256("\0".join(asked).encode(errors="surrogateescape")).hexdigest()[:16]


def passes(command: str, spec: EpicSpec, environ: Mapping[str, str], most_s: float) -> bool | None:
    """Whether a check passes there; None where that took too long, or can't be known."""
    if most_s <= 0:
        return None
    given = {"RECONCILE_TASK": "none", "RECONCILE_BASE": spec.base}
    env = {**with_passed(environ, {}, ()), **given, **spec.agent.env}
    with tempfile.TemporaryDirectory(prefix="reconcile-nothing-", ignore_cleanup_errors=True) as folder:
        try:
            _emptied(Path(folder), spec.base, env)
            return shell.run(("/bin/sh", "-c", command), env=env, cwd=folder, timeout_s=most_s).code == 0
        except ReconcileError:
            return None


def _emptied(folder: Path, base: str, env: dict[str, str]) -> None:
    """Make a repository of one commit that holds no file."""
    us = ("-c", "user.name=reconcile", "-c", "user.email=reconcile@localhost", "-c", "commit.gpgSign=false")
    for words in (
        ("init", "--quiet", f"--initial-branch={base}", "--template="),
        ("commit", "--quiet", "--allow-empty", "--message=Nothing"),
    ):
        shell.run(("git", "-c", "core.hooksPath=/dev/null", *us, *words), env=env, cwd=folder, timeout_s=EACH_S)
