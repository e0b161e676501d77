"""What a manifest's checks need to be run at all, as far as their first words tell. Pure; no shell is asked.

What stands behind a condition, a variable or another command may never be run, or be made by what runs before it: that
is not looked at.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable

# What a shell knows by itself, POSIX's and others'.
_WORDS = (
    ". : [ [[ declare let popd pushd shopt typeset alias bg break case cd command continue do done echo elif else esac eval exec exit export false fc fg fi for "
    "function getopts hash if in jobs kill local printf pwd read readonly return set shift source test then time times "
    "trap true type ulimit umask unalias unset until wait while"
)
_BUILT_IN = frozenset(_WORDS.split())
_INTERPRETER = r"(ba|da|z|k)?sh|python[0-9.]*|node|ruby|perl"
_SCRIPTS = frozenset((".sh", ".bash", ".zsh", ".py", ".rb", ".pl", ".js", ".mjs", ".cjs", ".ts"))
_SETS = r"[A-Za-z_][A-Za-z0-9_]*="
_ALWAYS = r"(?s)(?:.*(?:\|\||;|\n)\s*)?(?:true|:|exit\s+0)\s*;?\s*|\s*(?:echo|printf)\b[^&|;$`\n]*"
_STOPS_EARLY = r"\bset\s+-[a-z]*e|\bexit\s+(?!0\b)|\breturn\b|\{|\(|\bif\b|\bcase\b|\bfor\b|\bwhile\b|#|['\"]"
_NAME = r"[\w@%+.,/-]+"
_LACKS = (
    rf"command not found: (?P<zsh>{_NAME})|[\u2018'](?P<env>{_NAME})[\u2019']: No such file or directory"
    rf"|(?:cannot open )?(?P<sh>{_NAME}): (?:command |required file |cannot execute: required file )?(?:not found|No such file)"
    rf"|(?P<unfit>{_NAME}): (?:Permission denied|cannot execute)"
)
_SHELL = r"[$`(){}*?~!<>\n]|\|\|"


def programs(checks: Iterable[str]) -> tuple[str, ...]:
    """The programs that have to be on the PATH, each once.

    >>> programs(["pytest -q && mypy", "LC_ALL=C ruff check", "cd x && just", "./run", "if a; then b; fi", "$X"])
    ('pytest', 'ruff')
    """
    first = (words[0] for words in map(_first, checks) if words)
    return tuple(dict.fromkeys(word for word in first if "/" not in word and word not in _BUILT_IN))


def always_green(check: str) -> bool:
    """True for what passes whatever there is, as far as its last words tell.

    >>> [always_green(check) for check in ("true", "pytest || true", "make; exit 0", "echo ok")]
    [True, True, True, True]
    >>> [always_green(check) for check in ("make && true", "set -e; make; true", "exit 01", "echo ok | grep x", "make; exit $?")]
    [False, False, False, False, False]
    """
    return bool(re.fullmatch(_ALWAYS, check)) and not re.search(_STOPS_EARLY, check)


def file(check: str) -> str | None:
    """The file of the repository that a check runs before all others; None where that is none, or is not known.

    >>> file("sh ci/check.sh -v"), file("./run.sh"), file("pytest ./run.sh"), file("python -m pytest")
    ('ci/check.sh', 'run.sh', None, None)
    """
    words = _first(check)
    if not words:
        return None
    run = words[0] if "/" in words[0] else words[1] if re.fullmatch(_INTERPRETER, words[0]) and len(words) > 1 else ""
    path = posixpath.normpath(run) if run and not run.startswith(("-", "/")) else ""
    return None if path in ("", ".") or path.startswith("../") else path


def lacked(printed: str) -> tuple[str, bool] | None:
    """What a shell, or `env`, printed last that it did not find or could not execute, and whether that is there; None: it names
    nothing.

    >>> lacked("1 passed sh: 2: superlint: not found"), lacked("env: 'python9': No such file or directory")
    (('superlint', False), ('python9', False))
    >>> lacked("sh: 1: ./ci/check.sh: Permission denied"), lacked("it failed")
    (('./ci/check.sh', True), None)
    """
    last = next(reversed(list(re.finditer(_LACKS, printed))), None)
    if last is None:
        return None
    return last["zsh"] or last["env"] or last["sh"] or last["unfit"], last["unfit"] is not None


def executed(check: str) -> bool:
    """True where that file is a program of its own, and not read by another that is named before it.

    >>> executed("sh ci/check.sh -v"), executed("./run.sh")
    (False, True)
    """
    words = _first(check)
    return bool(words) and "/" in words[0]


def written(path: str) -> bool:
    """True for what people write and commit, by its name; what has another may be built by a check that comes before.

    >>> [written(path) for path in ("ci/check.sh", "check.py", "build/run-tests", "a.out")]
    [True, True, False, False]
    """
    return posixpath.splitext(path)[1] in _SCRIPTS


def _first(check: str) -> list[str]:
    """The words of the command that a check begins with; none where a shell would have to say which that is."""
    head = re.split(r"&&|;|\|", check, maxsplit=1)[0]
    if re.search(_SHELL, check):
        return []
    try:
        words = shlex.split(head, comments=True)
    except ValueError:
        return []
    while words and re.match(_SETS, words[0]):
        if words.pop(0).startswith("PATH="):
            return []
    return words
