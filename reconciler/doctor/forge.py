"""Where pull requests are kept: whether that can be reached, and lets us do what is to be done there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from reconciler.doctor.findings import Diagnosis, State, named
from reconciler.doctor.scene import Scene
from reconciler.forges.github.answers import READ_CHECKS
from reconciler.forges.github.forge import GitHubForge
from reconciler.loop.asking import ask
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.observed import Base, Rules, known_or
from reconciler.planning import epic_state, landing_mode
from reconciler.wiring import Site


def findings(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Whether pull requests can be kept where the manifests want them."""
    held = site.chosen.refused(Desired(epics=scene.epics))
    unfit = {spec.name for spec in scene.epics if site.chosen.choice.refused(spec)}
    for name, why in held.items():
        yield Diagnosis(
            name="forge",
            state=State.PROBLEM,
            found=name,
            message=f"it is held: {why}",
            hint="fix its manifest and apply it" if name in unfit else "",
        )
    new = EpicSpec(name="new")
    if not scene.epics and (trouble := site.chosen.refused(Desired(epics=(new,))).get(new.name)):
        hint = "do so in the manifest" if site.chosen.choice.refused(new) else ""
        yield Diagnosis(name="forge", state=State.WARNING, message=trouble, hint=hint)
    elif not held:
        yield from (
            _github(site.chosen.github, scene.epics) if site.chosen.github else [Diagnosis(name="forge", found="local")]
        )


def _staging(forge: GitHubForge, epics: Sequence[EpicSpec]) -> Iterator[Diagnosis]:
    """Whether what is to be tested there finds its staging branches free."""
    for base in {spec.base for spec in epics if spec.merge.staging}:
        strange = known_or(ask(partial(forge.strange_staging, base)), ())
        if strange:
            message = "were not made here, and are left alone; other names are taken"
            hint = "delete them there if nobody needs them"
            yield Diagnosis(name="forge", state=State.WARNING, found=named(strange), message=message, hint=hint)


def _github(forge: GitHubForge, epics: Sequence[EpicSpec]) -> Iterator[Diagnosis]:
    """Whether GitHub lets us do what is to be done there."""
    yield from _staging(forge, epics)
    found = f"github ({forge.slug})"
    if trouble := forge.trouble:
        yield Diagnosis(name="forge", state=State.PROBLEM, found=found, message=trouble)
        return
    rules = forge.look.last.rules
    if not rules:
        yield Diagnosis(name="forge", state=State.WARNING, found=found, message="GitHub does not answer now")
    unread = {why for asked in rules.values() if (why := asked.unread)}
    if not unread and (part := forge.look.last.withheld):
        message = f"it does not tell this login of all checks, so nothing lands that waits for one of those: {part}"
        yield Diagnosis(name="forge", state=State.WARNING, found=found, message=message, hint=READ_CHECKS)
    for base, asked in rules.items():
        if asked.unread:
            held = next(
                filter(None, (landing_mode.illegible(each, asked) for each in epics if each.base == base)), None
            )
            state = State.PROBLEM if held else State.WARNING
            yield Diagnosis(name="forge", state=state, found=found, message=held or asked.unread)
        if asked.renamed:
            seen = ask(partial(forge.base, base))  # it knows the address, too
            renamed = seen.rules.renamed if isinstance(seen, Base) and seen.rules else None
            message, _, hint = (renamed or asked.renamed).partition("; ")
            yield Diagnosis(name="forge", state=State.WARNING, found=found, message=message, hint=hint)
        if asked.mute:
            yield Diagnosis(name="forge", state=State.WARNING, found=found, message=asked.mute)
        if why := asked.closed:
            yield Diagnosis(name="forge", state=State.PROBLEM, found=found, message=why)
        elif asked.queue:
            yield Diagnosis(name="forge", found=found, message=f"{base} takes what its merge queue merges")
        else:
            checks = f", once {named(asked.required)} passed" if asked.required else ""
            methods = named(sorted(asked.methods)) or "nothing"
            yield Diagnosis(name="forge", found=found, message=f"{base} takes {methods}{checks}")
        if not asked.closed and not asked.unread:  # of the whole base: that stands above
            yield from _against_the_rules([each for each in epics if each.base == base], asked)


def _against_the_rules(epics: Sequence[EpicSpec], rules: Rules) -> Iterator[Diagnosis]:
    """What GitHub forbids as a manifest wants it: nobody begins to work for that one."""
    for spec in epics:
        if why := epic_state.forbidden(spec, rules):
            message, _, hint = why.partition("; ")
            state = State.PROBLEM
            yield Diagnosis(name="forge", state=state, found=spec.name, message=f"it is held: {message}", hint=hint)
