"""Where remotes are, once git has rewritten their URLs (`url.*.insteadOf`) and ssh its hosts (`Host`, `HostName`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.forges.github import slug
from reconciler.git.commands import Git
from reconciler.git.control_dir import Config
from reconciler.model.errors import ReconcileError
from reconciler.system import shell

_REMOTE = re.compile(r"remote\..*\.url")
_SSH = re.compile(r"((?:ssh://)?(?:[^/@:]+@)?)([A-Za-z0-9][A-Za-z0-9.-]*)(:.*|/.*)", re.DOTALL)
SSH_S = 10.0


class Addresses:
    """The addresses of one repository's remotes. What was found of a URL holds for as long as the program runs."""

    def __init__(self, git: Git, environ: Mapping[str, str]) -> None:
        self._git, self._environ = git, environ
        self._found: dict[str, str] = {}

    def resolved(self, config: Config) -> Config:
        """The same config with the URLs of remotes as they are in the end."""
        return tuple((key, self._of(value) if value and _REMOTE.fullmatch(key) else value) for key, value in config)

    def _of(self, url: str) -> str:
        if ":" not in url or slug.parse(url, also=self._environ.get("GH_HOST", "")):
            return url  # a path, or plainly where it says
        if url not in self._found:
            self._found[url] = self._by_ssh(self._by_git(url))
        return self._found[url]

    def _by_git(self, url: str) -> str:
        try:
            return self._git.rewritten(url)
        except ReconcileError:
            return url  # what it is then taken for is what the config says

    def _by_ssh(self, url: str) -> str:
        parts = _SSH.fullmatch(url)
        if parts is None or url.startswith(("http://", "https://", "file://", "git://")):
            return url
        before, host, after = parts.groups()
        try:
            finished = shell.run(("ssh", "-G", "--", host), env=self._environ, cwd="/", timeout_s=SSH_S)
        except ReconcileError:
            return url
        names = (line.partition(" ") for line in finished.text.splitlines())
        real = next((value for word, _, value in names if word == "hostname" and value), host)
        return f"{before}{real}{after}" if finished.code == 0 else url
