"""Where the pull requests of a repository are kept, made once somebody wants to know: on GitHub, or in the repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.forges import choice
from reconciler.forges.addresses import Addresses
from reconciler.forges.choice import Choice
from reconciler.forges.local import LocalForge
from reconciler.forges.local.pulls import Pulls
from reconciler.git.commands import Git
from reconciler.landing.remotes import default_base
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.ports import Forge
from reconciler.model.values import replace
from reconciler.system.late import late

if TYPE_CHECKING:
    from reconciler.forges.github.forge import GitHubForge


class ChosenForge(Struct, frozen=True, dict=True):
    """The one forge of a repository. It stays so: with other manifests, start again. `specs`: every manifest there is."""

    git: Git
    environ: Mapping[str, str]
    specs: Callable[[], Sequence[EpicSpec]]

    @cached_property
    def choice(self) -> Choice:
        specs = self.specs() or (EpicSpec(name=""),)
        return choice.chosen(specs, self._addresses.resolved(self.git.config()), self.environ.get("GH_HOST", ""))

    @cached_property
    def github(self) -> GitHubForge | None:
        """The forge, where it is GitHub."""
        if (there := self.choice.there) is None:
            return None
        module = late("reconciler.forges.github.forge")
        gh, local = module.Gh(there.host, self.environ), Pulls(self.git)
        forge: GitHubForge = module.GitHubForge(self.git, gh, there, self._bases, local)
        return forge

    @cached_property
    def forge(self) -> Forge:
        return self.github or LocalForge(self.git)

    def refused(self, desired: Desired) -> Mapping[str, str]:
        """For each manifest whose forge can't be used: why, and what to write."""
        # Somebody may have added a remote since, or given it the name that its repository has now.
        config, github = self._addresses.resolved(self.git.config()), self.github
        chosen = replace(self.choice, config=config, now=github.slug if github else None)
        if github and any(chosen.wished(spec) == chosen.now for spec in desired.epics):
            github.look.adopt(github.slug)
        found = {spec.name: why for spec in desired.epics if (why := chosen.refused(spec))}
        fitting = [spec.name for spec in desired.epics if spec.name not in found]
        trouble = github.trouble if github and fitting else None
        return {**found, **dict.fromkeys(fitting, trouble)} if trouble else found

    @cached_property
    def _addresses(self) -> Addresses:
        return Addresses(self.git, self.environ)

    def _bases(self) -> tuple[str, ...]:
        """What lands on GitHub; what is to land elsewhere is none of its business."""
        named = [spec.base for spec in self.specs() if not self.choice.refused(spec)]
        return tuple(dict.fromkeys(named)) or (default_base(self.git) or "main",)
