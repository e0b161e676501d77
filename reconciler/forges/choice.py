"""Which forge a repository's manifests mean: one for all of them at a time. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from msgspec import Struct

from reconciler.forges.github import slug
from reconciler.forges.github.slug import Slug
from reconciler.git.control_dir import Config
from reconciler.model.desired import EpicSpec, ForgeKind


class Choice(Struct, frozen=True):
    """Where pull requests live: on GitHub where `there` is set, else in the repository itself."""

    config: Config
    gh_host: str
    there: Slug | None
    first: str = ""  # the manifest whose wish it is
    now: Slug | None = None  # what the repository is called today

    def refused(self, spec: EpicSpec) -> str | None:
        """Why a manifest can't have its pull requests where the others have theirs; None where it can."""
        wished = self.wished(spec)
        if isinstance(wished, str):
            return wished
        if wished in (self.there, self.now or self.there):
            return None
        if wished and self.there:
            return f"its remote leads to {wished} now, and what runs here began with {self.there}: end it, and start it again"
        ours = f"on GitHub ({self.there})" if self.there else "in this repository"
        because = f", as {self.first} has it" if self.first else ""
        theirs = "local" if self.there is None else "github"
        return (
            f"the pull requests of this repository are kept {ours}{because}, and its own elsewhere; write 'forge: {theirs}', "
            "or start again once only one kind is asked for"
        )

    def wished(self, spec: EpicSpec) -> Slug | str | None:
        """The repository on GitHub that a manifest means, None for the local forge, or why neither is meant."""
        return _wished(spec, self.config, self.gh_host)


def chosen(specs: Sequence[EpicSpec], config: Config, gh_host: str = "") -> Choice:
    """The forge of the first manifest by name that says, or whose remote says, what it is."""
    for spec in sorted(specs, key=lambda spec: spec.name):
        wished = _wished(spec, config, gh_host)
        if not isinstance(wished, str):
            return Choice(config, gh_host, wished, spec.name)
    return Choice(config, gh_host, None)


def _wished(spec: EpicSpec, config: Config, gh_host: str) -> Slug | str | None:
    """The repository on GitHub, None for the local forge, or why neither is meant."""
    if spec.forge is ForgeKind.LOCAL:
        return None
    name, url = remote(config, spec.base)
    there = slug.parse(url, also=gh_host) if url else None
    if there:
        return there
    host = slug.host_of(url) if url else None
    known = f"its remote {name} is {host or 'elsewhere'}, which is not known as a GitHub"
    own = _how(name, url or "", host) if host else ""
    if spec.forge is ForgeKind.GITHUB:
        if not url:
            return f"the repository has no remote {name}: 'git remote add {name} git@github.com:OWNER/NAME.git', or write 'forge: local'"
        return f"{known}{own}; or write 'forge: local'"
    if all(map(_is_path, _urls(config))):
        return None
    return f"{known}{own}; else write 'forge: local' to land in this repository"


def _how(name: str, url: str, host: str) -> str:
    """What makes a remote known as GitHub's, if it is there."""
    if "." in host:
        return f"; if it is one, set GH_HOST={host}"
    # No server is called so: it is a name that ssh is to know, and here it does not.
    path = url.rpartition("@")[2].rpartition("//")[2].removeprefix(host).lstrip(":/")
    return f"; if it stands for GitHub: git remote set-url {name} {shlex.quote(f'git@github.com:{path}')}"


def remote(config: Config, base: str) -> tuple[str, str | None]:
    """Name and URL of the remote that a base follows, else of `origin`."""
    fields: dict[str, str] = {}
    for key, value in config:
        fields.setdefault(key, value or "")
    name = fields.get(f"branch.{base}.remote", "origin")
    return name, fields.get(f"remote.{name}.url")


def _urls(config: Config) -> list[str]:
    return [value or "" for key, value in config if key.startswith("remote.") and key.endswith(".url")]


def _is_path(url: str) -> bool:
    return url.startswith(("/", "./", "../", "file://")) or ("://" not in url and ":" not in url)
