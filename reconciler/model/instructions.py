"""Which files agents read unasked, and which others such a file names. Pure.

Whoever writes there tells an agent what to do, or has it run something, before that has looked at anything. What a file only
speaks of in words is not among it: that much is everybody's to judge.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from reconciler.model.globs import with_folders

# The files that agents read unasked, those with their settings, commands and skills, and links in place of their folders.
INSTRUCTIONS = with_folders((
    "**/CLAUDE.md", "**/CLAUDE.*.md", "**/AGENT.md", "**/AGENTS.md", "**/AGENTS.*.md", "**/GEMINI.md", "**/QWEN.md", "**/WARP.md",
    "**/SKILL.md", "**/.claude/**", "**/.agent/**", "**/.agents/**", "**/.codex/**", "**/.gemini/**", "**/.qwen/**",
    "**/.opencode/**", "**/opencode.json*", "**/.cursor/**", "**/.cursorrules", "**/.windsurf/**", "**/.windsurfrules",
    "**/.clinerules", "**/.clinerules/**", "**/.roo/**", "**/.roorules*", "**/.continue/**", "**/.kiro/**", "**/.junie/**",
    "**/.amazonq/**", "**/.augment/**", "**/.trae/**", "**/.aider*", "**/.goosehints", "**/.rules", "**/.mcp.json",
    "**/copilot-instructions.md", "**/.github/instructions/**", "**/.github/prompts/**", "**/.github/chatmodes/**",
    "**/.github/agents/**", "**/.github/skills/**", "**/.env", "**/.opencode.json", "**/crush.json", "**/.crush.json", "**/CONTEXT.md",
))  # fmt: skip

_IMPORT = re.compile(r"(?<![\w@`])@((?:[^\s\\`]|\\ )+)")
PROSE = (".md", ".mdc", ".rst", ".txt")
_VARIABLE = re.compile(r"\$\w+|\$\{\w+\}")
_WORD = re.compile(r"[\w.@+~*-]+(?:/[\w.@+~*-]+)*")


def imports(text: str, folders: tuple[str, ...]) -> Iterator[str]:
    """The paths that a text has agents read with it (`@path`), relative to any of these folders; with what may only be
    the end of a sentence, too.

    >>> sorted(imports("Mind @style.md, and\\n- @../a/b.md. Ask ann@example.org, `@x`.", ("docs",)))
    ['a/b.md', 'a/b.md.', 'docs/style.md', 'docs/style.md,']
    """
    for found in _IMPORT.findall(text):
        named = found.replace("\\ ", " ")
        for path in {named, named.rstrip(".,;:!?)'\"")}:
            yield from _within(path, folders)


def words(text: str, folders: tuple[str, ...]) -> Iterator[str]:
    """The paths that settings may name: what is run, or read with them. Globs are those of texts alone: permissions are such, too.

    >>> sorted(set(words('{"command": "python $CLAUDE_PROJECT_DIR/tools/hook.py", "instructions": ["docs/*.md", "src/**"]}', ("",))))
    ['command', 'docs/*.md', 'instructions', 'python', 'tools/hook.py']
    """
    for word in _WORD.findall(_VARIABLE.sub(" ", text)):
        if "*" not in word or word.endswith(PROSE):
            yield from _within(word, ("", *folders))


def names(path: str, text: str, folders: tuple[str, ...]) -> Iterator[str]:
    """The paths that such a file names: `path` is its own, `folders` those that it may mean by a path."""
    yield from imports(text, folders)
    if not path.lower().endswith(PROSE):
        yield from words(text, folders)


def _within(path: str, folders: tuple[str, ...]) -> Iterator[str]:
    for folder in folders:
        found = posixpath.normpath(posixpath.join(folder, path))
        if found[0] != "/" and found.partition("/")[0] not in (".", "..", "~"):
            yield found
