"""A scripted agent: it really edits and commits, and it fails the way real ones do. No model is asked.

It reads what it is to do from the file that RECONCILE_PROMPT names, works in the current directory, commits on its
branch and ends with 0.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TITLE, _, FEEDBACK = Path(os.environ["RECONCILE_PROMPT"]).read_text().partition("\n")
FIRST = os.environ["RECONCILE_ATTEMPT"] == "1" and not FEEDBACK.strip()
BASE = os.environ["RECONCILE_BASE"]
WORDS = "calc/words.py"


def git(*args: str) -> bool:
    return subprocess.run(("git", *args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def commit(message: str, **files: str) -> None:
    for path, text in files.items():
        Path(path).write_text(text)
    git("add", "--all")
    git("commit", "--quiet", "--message", message)
    print(f"committed: {message}", flush=True)


def think(seconds: float) -> None:
    """What a real agent does most of the time."""
    time.sleep(seconds)


def lexer() -> None:
    commit(
        "Split a sum into words", **{"calc/lexer.py": "def words(text):\n    return text.replace('+', ' ').split()\n"}
    )
    commit("Test it", **{"tests/test_lexer.py": test("lexer", "words('1+2')", "['1', '2']", "words")})


def parser() -> None:
    """Wrong at first: the checks on the merged tree find it, and it is told why."""
    how = "'+'.join(words(text))" if FIRST else "sum(int(word) for word in words(text))"
    code = f"from calc.lexer import words\n\n\ndef total(text):\n    return {how}\n"
    commit("Add up the words", **{"calc/parser.py": code})
    if FIRST:
        commit("Test it", **{"tests/test_parser.py": test("parser", "total('1+2')", "3", "total")})


def command() -> None:
    """Killed in the middle of its work: what it had committed is still there for the next one."""
    if FIRST:
        commit("Begin a command", **{"calc/__main__.py": "import sys\n"})
        os.kill(os.getpid(), signal.SIGKILL)
    commit(
        "Finish the command",
        **{"calc/__main__.py": "import sys\n\nfrom calc.parser import total\n\nprint(total(sys.argv[1]))\n"},
    )


def greet(language: str, word: str) -> None:
    """Two agents change the same line: the one that lands second is given both sides and brings them together."""
    if "conflicts with" in FEEDBACK:
        git("merge", "--quiet", BASE)
        sides = [line for line in Path(WORDS).read_text().splitlines() if line.startswith("GREETINGS")]
        both = sorted({entry for side in sides for entry in eval(side.partition("=")[2])} | {(language, word)})
        commit(f"Bring the greetings together with {BASE}", **{WORDS: f"GREETINGS = {both!r}\n"})
    else:
        commit(f"Greet in {language}", **{WORDS: f"GREETINGS = [({language!r}, {word!r})]\n"})


def notes() -> None:
    commit("Write the release notes", **{"NOTES.md": "# 1.0\n\nIt adds, and it greets in two languages.\n"})


def test(module: str, call: str, expected: str, name: str) -> str:
    return (
        f"import unittest\n\nfrom calc.{module} import {name}\n\n\n"
        f"class Test(unittest.TestCase):\n    def test_it(self):\n        self.assertEqual({call}, {expected})\n"
    )


DEEDS = {
    "Split a sum into words": lexer,
    "Add up the words of a sum": parser,
    "Make a command of it": command,
    "Greet in English": lambda: greet("English", "hello"),
    "Greet in French": lambda: greet("French", "bonjour"),
    "Write the release notes": notes,
}

if __name__ == "__main__":
    think(0.4)
    if TITLE not in DEEDS:
        sys.exit(f"this agent knows nothing about {TITLE!r}")
    DEEDS[TITLE]()
