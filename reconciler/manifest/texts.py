"""What a piece of text in a manifest may be: a name, a path, a branch, a span of time. Each says what is allowed instead."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from reconciler.manifest.durations import duration
from reconciler.manifest.wording import PATTERNS
from reconciler.model.names import BRANCH_PREFIX, usable
from reconciler.planning.labels import PATHS


def _duration(text: str) -> str:
    duration(text)
    return text


def _anywhere(text: str) -> str:
    if text.startswith("~"):
        raise ValueError("'~' stands for nothing here; allowed: an absolute path, or one relative to the repository")
    return text


def _login(text: str) -> str:
    """A bot's login has this at its end where people see it, and not where programs do."""
    return text.removesuffix("[bot]")


def _inside(text: str) -> str:
    """A path below a folder that it can't leave."""
    parts = text.removesuffix("/").split("/")
    if text.startswith("/") or any(part in ("", "..") for part in parts) or parts == ["."]:
        raise ValueError(f"{text!r} is not a path below the repository; allowed: a relative path without '..'")
    if any(part.lower() == ".git" for part in parts):
        raise ValueError(f"{text!r} leads into git's own folder; allowed: other paths of the repository")
    return "/".join(part for part in parts if part != ".")


def _glob(text: str) -> str:
    """A glob that some path of a repository can fit: none begins or ends with a slash, or goes up."""
    parts = text.split("/")
    if any(part in ("", ".", "..") for part in parts):
        fitting = "/".join(part for part in parts if part not in ("", ".", "..")) + "/**" * text.endswith("/")
        write = f", like {fitting!r}" if fitting.strip("/*") else ""
        raise ValueError(
            f"{text!r} fits no path; allowed: globs of paths as git has them, from the top of the repository{write}"
        )
    return text


def _task_id(text: str) -> str:
    if not usable(text):
        raise ValueError(f"{text!r} can't be a branch; allowed: no '..', not ending in '.' or '.lock'")
    return text


def _branch(text: str) -> str:
    """A branch name that git takes (the rules of `git check-ref-format`)."""
    wrong = re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|\Z)|(\A|/)\.|[/.]\Z|\A[-/]|\A@\Z", text)
    if wrong or text == "HEAD":
        raise ValueError(f"{text!r} is not a branch name; allowed: what 'git branch' takes, without refs/heads/")
    if text.startswith(("refs/", BRANCH_PREFIX)):
        raise ValueError(f"{text!r} can't be a base; allowed: a branch outside refs/ and {BRANCH_PREFIX}")
    return text


def _label(text: str) -> str:
    if text.startswith(("phase:", "pr:")):
        raise ValueError(f"{text!r} is a label that reconcile writes itself; allowed: labels without phase: and pr:")
    return text


def _variable(text: str) -> str:
    if text.startswith("RECONCILE_"):
        raise ValueError(f"{text!r} is set by reconcile itself; allowed: names that don't begin with RECONCILE_")
    return text


Name = Annotated[str, Field(pattern=PATTERNS["name"])]
Key = Annotated[str, Field(pattern=PATTERNS["key"])]
Id = Annotated[str, Field(pattern=PATTERNS["id"]), AfterValidator(_task_id)]
Line = Annotated[str, Field(pattern=PATTERNS["line"], max_length=500)]
Label = Annotated[str, Field(pattern=PATTERNS["line"], max_length=100), AfterValidator(_label)]
Glob = Annotated[str, Field(pattern=PATTERNS["line"], max_length=500), AfterValidator(_glob)]
# It becomes a label.
LikelyPath = Annotated[str, Field(pattern=PATTERNS["line"], max_length=100 - len(PATHS)), AfterValidator(_glob)]
Login = Annotated[str, Field(pattern=PATTERNS["line"], max_length=100), AfterValidator(_login)]
Text = Annotated[str, AfterValidator(str.rstrip)]
Command = Annotated[str, Field(pattern=PATTERNS["command"])]
Variable = Annotated[str, Field(pattern=PATTERNS["variable"]), AfterValidator(_variable)]
Anywhere = Annotated[str, Field(pattern=PATTERNS["line"]), AfterValidator(_anywhere)]
Inside = Annotated[str, Field(pattern=PATTERNS["line"]), AfterValidator(_inside)]
Model = Annotated[str, Field(pattern=PATTERNS["model"], max_length=200)]
Branch = Annotated[str, Field(pattern=PATTERNS["line"]), AfterValidator(_branch)]
Url = Annotated[str, Field(pattern=PATTERNS["url"], max_length=2000)]
Hours = Annotated[str, Field(pattern=PATTERNS["hours"])]
Size = Annotated[str, Field(pattern=PATTERNS["size"])]
Span = Annotated[str, Field(pattern=PATTERNS["span"]), AfterValidator(_duration)]
SpanOrZero = Annotated[str, Field(pattern=PATTERNS["span or zero"]), AfterValidator(_duration)]
