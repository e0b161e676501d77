"""The texts that agents get their tasks by: the manifest's, the repository's own, or the one that ships."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from reconciler.git import committed_files
from reconciler.git.commands import Git
from reconciler.git.committed_files import LINK, behind, with_above
from reconciler.manifest.shipped import shipped_agents
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.instructions import imports
from reconciler.model.names import Sha

_OWN = WORKER, MERGER = ".claude/agents/worker.md", ".claude/agents/merger.md"
_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(?:.*?\n)??---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_SPEAKS_OF_THE_TASK = re.compile(r"\{(task|title|description)\}|\$TASK_ID\b")


class Templates:
    """`ports.Prompts` on files, as a base holds them.

    What is written into the main checkout and never committed was read by nobody: an agent may have written it.
    """

    def __init__(self, git: Git) -> None:
        self._git = git

    def template(self, spec: EpicSpec, base: Sha) -> str:
        """The text of the worker's template, without its front matter."""
        if spec.agent.prompt:
            return _without_front_matter(self._chosen(spec.agent.prompt, base))
        own, text = self._main / WORKER, self._own(base, WORKER)
        if text is None and own.is_file():
            text = _text(own)  # a person's own, which is not to be committed
        # Somebody's worker may be one for another tool: what does not speak of the task can't be its prompt.
        if text is None or not _SPEAKS_OF_THE_TASK.search(text):
            text = _text(shipped_agents() / "worker.md")
        return _without_front_matter(text)

    def review(self, spec: EpicSpec, base: Sha) -> str:
        """What a reviewer is to look for, without its front matter. What it is about is put to it by others."""
        if prompt := spec.reviewing.prompt:
            return _without_front_matter(self._chosen(prompt, base))
        text = self._own(base, MERGER)
        return _without_front_matter(_text(shipped_agents() / "merger.md") if text is None else text)

    def guidelines(self, spec: EpicSpec, base: Sha) -> str:
        """Whose words those of `review` are, for people; of a file that is here and not in the base, that it is not they."""
        if prompt := spec.reviewing.prompt:
            if self._in_base(prompt, base) is not None:
                return f"{prompt} of {spec.base}"
            return f"{prompt}, which is not on {spec.base}" if self._inside(prompt) else prompt
        if self._own(base, MERGER) is not None:
            return f"{MERGER} of {spec.base}"
        shipped = "the guidelines that come with reconcile"
        return f"{shipped} ({MERGER} is not on {spec.base})" if (self._main / MERGER).is_file() else shipped

    def uncommitted(self, spec: EpicSpec, base: Sha) -> tuple[str, ...]:
        """The files of the repository that agents get their words from as they stand here, for the base holds none."""
        named = [agent.prompt for agent in (spec.agent, spec.reviewer) if agent and agent.prompt]
        here = [prompt for prompt in named if self._inside(prompt) and self._in_base(prompt, base) is None]
        own = self._main / WORKER
        if not spec.agent.prompt and self._own(base, WORKER) is None and own.is_file():
            here += [str(own)] if _SPEAKS_OF_THE_TASK.search(_text(own)) else []
        return tuple(dict.fromkeys(here))

    def linked(self, spec: EpicSpec, base: Sha) -> frozenset[str]:
        """The paths by which the prompts that a manifest names are read in the base beside their own, where these are links, and
        those that any prompt has its agent read with it: who writes there writes the prompts."""
        named = [agent.prompt for agent in (spec.agent, spec.reviewer) if agent and agent.prompt]
        inside = [path for prompt in named if (path := self._inside(prompt))]
        texts = [self._own(base, WORKER), self._own(base, MERGER)]
        for prompt in named:
            with suppress(PermanentError):  # what can't be read is given to nobody
                texts.append(self._chosen(prompt, base))
        # Agents look for it where they work, at the top of a worktree.
        imported = {path for text in texts if text and "@" in text for path in imports(text, ("",))}
        through = [*inside, *self._behind_links(base, imported)]
        return frozenset((*(found for path in through for found in self._through(base, path)), *imported))

    def _behind_links(self, base: Sha, paths: Collection[str]) -> list[str]:
        """Those of these paths that are links in a commit, or go through one. A text may name thousands: the tree is asked once."""
        if not paths:
            return []
        links: frozenset[str] = self._git.remembered(
            ("every link", base), (), lambda: committed_files.links(self._git, base)
        )
        return [path for path in paths if "\0" not in path and any(above in links for above in with_above(path))]

    def _through(self, base: Sha, path: str) -> frozenset[str]:
        found: frozenset[str] = self._git.remembered(("links", base, path), (), lambda: self._links(base, path))
        return found

    def _links(self, base: Sha, path: str) -> frozenset[str]:
        mode, _ = self._entry(base, path)
        if mode and mode != LINK:
            return frozenset()  # git finds nothing behind a link: there is none on the way
        return behind(path, partial(self._target, base))

    def _target(self, base: Sha, path: str) -> str | None:
        mode, name = self._entry(base, path)
        return self._git.objects("cat-file", "blob", name).text if mode == LINK else None

    def _entry(self, base: Sha, path: str) -> tuple[str, Sha]:
        if (found := committed_files.entry(self._git, base, path)) is None:
            raise TemporaryError(f"{path} in {base[:12]} can't be read")
        return found

    @property
    def _main(self) -> Path:
        return self._git.repository.main

    def _chosen(self, prompt: str, base: Sha) -> str:
        """The file that a manifest names: where it is one of the repository, as the base holds it."""
        text = self._in_base(prompt, base)
        return _text(self._path(prompt)) if text is None else text

    def _in_base(self, prompt: str, base: Sha) -> str | None:
        path = self._inside(prompt)
        if path is None:
            return None
        found = self._on(base, path)
        # A link that leads out of the repository is that of the base: the one that is here may be anybody's.
        return _text(self._main / found) if isinstance(found, Path) else found

    def _inside(self, prompt: str) -> str | None:
        """The path of a prompt within the repository; None where it is outside."""
        path = self._path(prompt)
        inside = path.is_relative_to(self._main) and "\n" not in prompt
        return str(path.relative_to(self._main)) if inside else None

    def _path(self, prompt: str) -> Path:
        return Path(os.path.normpath(self._main / prompt))

    def _own(self, base: Sha, path: str) -> str | None:
        """What the repository says by itself: nothing that leads out of it."""
        found = self._on(base, path)
        return None if isinstance(found, Path) else found

    def _on(self, base: Sha, path: str) -> str | Path | None:
        """What a commit holds at a path, through its own links; where these lead out of it, that path; None where that is no file."""
        at_once = _OWN if path in _OWN else (path,)
        # What a commit holds never changes.
        held: Mapping[str, bytes | Path] = self._git.remembered(
            ("prompts", base, at_once), (), lambda: self._read(base, at_once)
        )
        found = held.get(path)
        try:
            return found.decode() if isinstance(found, bytes) else found
        except UnicodeDecodeError as error:
            raise PermanentError(f"{path} in {base[:12]}: the prompt template can't be read: {error}") from error

    def _read(self, base: Sha, paths: Sequence[str]) -> Mapping[str, bytes | Path]:
        """What a commit holds at these, none of which has a line end in it; without those where that is no file."""
        names = b"".join(os.fsencode(f"{base}:{path}\n") for path in paths)
        rest = self._git.objects("cat-file", "--batch", "--follow-symlinks", stdin=names).out
        found: dict[str, bytes | Path] = {}
        for path in paths:
            head, _, rest = rest.partition(b"\n")
            if head.endswith((b" missing", b" ambiguous", b" submodule")):
                continue
            *words, size = head.split()
            content, rest = rest[: int(size)], rest[int(size) + 1 :]
            if words == [b"symlink"]:
                found[path] = Path(os.path.normpath(os.path.join(self._main, os.fsdecode(content))))
            elif len(words) == 2 and words[1] == b"blob":
                found[path] = content
        return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path}: the prompt template can't be read: {error}").due_to(path) from error


def _without_front_matter(text: str) -> str:
    # An agent's CLI could take a prompt that begins with dashes for an option.
    text = text.removeprefix("\ufeff")
    found = _FRONT_MATTER.match(text)
    return text[found.end() :].lstrip() or text if found else text
