"""Which files decide whether a check passes: those that its command line names, and those its tools read recipes from.

Read off the words of the command, as a shell would split them; no shell is asked, so that what a variable or a
substitution stands for is not known here. `folder` is asked which paths are folders: what is below them is the work.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import dropwhile

IsFolder = Callable[[str], bool]

# Where programs look for the recipes that their arguments name. `#scripts` is the part of a package.json that is read.
_JUST = ("justfile", "Justfile", ".justfile", "**/*.just")
_MAKE = ("Makefile", "makefile", "GNUmakefile", "**/*.mk")
_NPM = ("package.json#scripts", ".npmrc")
_RECIPES = {
    "just": _JUST,
    **dict.fromkeys(("make", "gmake"), _MAKE),
    **dict.fromkeys(("npm", "npx", "pnpm", "yarn", "bun"), _NPM),
    "tox": ("tox.ini",),
    "nox": ("noxfile.py",),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "rake": ("Rakefile",),
    "pre-commit": (".pre-commit-config.yaml",),
}
_RUNS_A_FILE = re.compile(r"(ba|da|z|k|fi)?sh|python[0-9.]*|node|deno|bun|ruby|perl|php|lua|source|\.")
_TAKES_A_FILE = {"just": ("-f", "--justfile"), "make": ("-f", "--file", "--makefile"), "gmake": ("-f", "--file")}
_TAKES_A_FOLDER = ("-C", "--chdir", "--directory", "--prefix", "--cwd")
_ONLY_LOOKS = frozenset(("test", "[", "[[", "grep", "egrep", "rg", "echo", "printf", "ls", "cat", "stat", "wc", "find"))
_KEYWORDS = frozenset(("if", "elif", "while", "until", "then", "else", "do", "!", "time"))
_WRAPPERS = frozenset(("exec", "env", "nohup", "timeout", "nice", "command"))
_SETS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_HERE = re.compile(r"\A\$(?:PWD|\{PWD\})/")
_UNKNOWN_HERE = re.compile(r"[$`~\0\n]|://|\.\.\.")
_DEEPEST = 3


def derived(checks: Iterable[str], folder: IsFolder) -> tuple[str, ...]:
    """The paths that these commands rest on, as `protectedPaths` writes them, each once.

    >>> derived(["sh ci/check.sh && make lint", "npm test"], lambda path: False)
    ('ci/check.sh', 'Makefile', 'makefile', 'GNUmakefile', '**/*.mk', 'package.json#scripts', '.npmrc')
    """
    found = (path for check in checks for path in _of_line(check, ".", 0))
    return tuple(dict.fromkeys(path for path in found if not folder(path)))


def run_by(argv: Iterable[str]) -> tuple[str, ...]:
    """The paths that a command line runs, or names outside of a script: what a script only speaks of is its matter.

    >>> run_by(["sh", "-c", "if grep -q x a.py; then exec python tools/b.py c.py; fi; git diff -- d.py\\n./e f.py"])
    ('tools/b.py', 'e')
    >>> run_by(["reviewer", "--rules", "docs/rules.md", "sh", "tools/x"])
    ('docs/rules.md', 'tools/x')
    """
    argv = list(argv)
    scripts = [word for word in argv if " " in word or "\n" in word]
    found = [*derived([shlex.join(word for word in argv if word not in scripts)], lambda path: False)]
    found += [path for script in scripts for line in script.splitlines() for path in _of_script(line, 0)]
    return tuple(dict.fromkeys(found))


def _of_script(line: str, depth: int) -> Iterator[str]:
    """What a line of a script runs."""
    at = "."
    for command in _commands(line):
        words = list(dropwhile(_KEYWORDS.__contains__, command))
        if words and words[0] in _WRAPPERS:
            words = list(dropwhile(lambda word: not _runs(word), words))
        if len(words) > 1 and words[0] == "cd":
            at = posixpath.join(at, words[1])
        if not words or not _runs(words[0]):
            continue
        within = [word for word in words if " " in word]
        if within and depth < _DEEPEST:
            yield from (path for word in within for path in _of_script(word, depth + 1))
        elif posixpath.basename(words[0]) in _RECIPES:
            yield from _of_command(words, at, _DEEPEST)
        elif not _RUNS_A_FILE.fullmatch(posixpath.basename(words[0])):
            yield from filter(None, [_inside(at, words[0])])
        else:
            file = next((n for n, word in enumerate(words) if n and not word.startswith("-")), 0)
            yield from _of_command(words[: file + 1], at, _DEEPEST)


def _runs(word: str) -> bool:
    """True for what runs a file, or is one that is run."""
    name = posixpath.basename(word)
    return name in _RECIPES or bool(_RUNS_A_FILE.fullmatch(name)) or "/" in word


def _of_line(text: str, at: str, depth: int) -> Iterator[str]:
    for words in _commands(text):
        if words[0] == "cd" and len(words) > 1:
            at = posixpath.join(at, words[1])
        else:
            yield from _of_command(words, at, depth)


def _commands(text: str) -> Iterator[list[str]]:
    """The commands of a line, each as its words, without the variables set for it."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=True)
    reader.whitespace_split, reader.commenters = True, "#"
    try:
        words = list(reader)
    except ValueError:
        words = text.split()
    command: list[str] = []
    for word in (*words, ";"):
        if not set(word) <= set("();<>|&{}!") or not word:
            if command or not _SETS.match(word):
                command.append(word)
        elif command:
            yield command
            command = []


def _of_command(words: Sequence[str], at: str, depth: int) -> Iterator[str]:
    program = ""
    if words[0] in _ONLY_LOOKS:
        return  # what it names is the work, not what judges it
    for n, word in enumerate(words):
        before = words[n - 1] if n else ""
        option, _, argument = word.partition("=") if word.startswith("-") else ("", "", _HERE.sub("", word))
        if before in _TAKES_A_FOLDER and not option:
            if not program:  # env -C DIR, before the program that runs there
                at = posixpath.join(at, word)
            continue
        if not program and option == "--chdir" and argument:
            at = posixpath.join(at, argument)
            continue
        if before == "-m" and re.fullmatch(r"[A-Za-z_][\w.]*", argument):
            module = argument.replace(".", "/")  # that of a package which is installed stands at no such path
            yield from filter(None, (_inside(at, f"{module}{end}") for end in (".py", "/__main__.py")))
        elif " " in argument and depth < _DEEPEST:
            yield from _of_line(argument, at, depth + 1)
        elif argument and not (option and not argument):
            named = posixpath.basename(argument)
            if named in _RECIPES and not option:
                program, at = named, _folder_of(words[n:], at)
                yield from filter(None, (_inside(at, path) for path in _RECIPES[named]))
            # The file that a program runs needs no ending; a word with one is a file wherever it stands.
            run = _RUNS_A_FILE.fullmatch(posixpath.basename(before)) and not option
            taken = before in _TAKES_A_FILE.get(program, ())
            if (run or taken or _looks_like_a_file(argument)) and (path := _inside(at, argument)):
                yield path


def _folder_of(words: Sequence[str], at: str) -> str:
    """Where a command looks for its recipes."""
    for n, word in enumerate(words):
        option, given, argument = word.partition("=")
        if option in _TAKES_A_FOLDER:
            return posixpath.join(at, argument if given else "".join(words[n + 1 : n + 2]))
    return at


def _looks_like_a_file(word: str) -> bool:
    return "/" in word or bool(re.search(r"[^.]\.[A-Za-z][A-Za-z0-9]*\Z", word))


def _inside(at: str, path: str) -> str | None:
    """A path as the repository names it; None for what is outside of it, or known to a shell only."""
    joined = posixpath.normpath(posixpath.join(at, path))
    if _UNKNOWN_HERE.search(path) or joined.startswith(("/", "../")) or joined in (".", ".."):
        return None
    return joined
