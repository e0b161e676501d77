"""What the rules of GitHub say against a push, and who can fix that. Pure.

Only the lines in which a rule speaks are judged: the names of files and branches beside them are an agent's choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.model.errors import ContentRefusedError, PermanentError

# Of the content of commits: files that are too large, secrets, what a ruleset asks of messages, paths and names.
# Kept as text, as others are that few commands need: compiled at every start, they are a twentieth of a short one.
_CONTENT = r"(?:error: )?(GH001|GH009|GH013)\b"
_RULE = r"[-*] "  # a line of a ruleset
_REASON = r"! \[remote rejected\] .* \((?P<why>[^()]*)\)$"
_DECLINED = "push declined due to repository rule violations"
# These no commit can meet, or none of its author's.
_NOT_CONTENT = (
    r"(?i)restricted|signature|protected ref|must be made through|required status check|private email|protected branch"
)
_SCOPE = "refusing to allow"
# What says nothing that a reader needs, beside the rest.
_IDLE = (
    r"(error: )?GH013: Repository rule violations found for .*|[-* ]*GITHUB PUSH PROTECTION|Resolve the following .*|locations:"
    r"|.*\(pre-receive hook declined\)|\(\?\).*|To push, .*|https://docs\.github\.com/\S*"
)
_RULES_OF_DASHES = r"^[-—\s]+|[-—\s]+$"
# What the other side met itself: it is as likely to go well the next time as anything.
_CHANCE = r"(?i)cannot lock ref|failed to update ref|unable to|unpack|internal|timed? ?out|temporar"
_NO_ENTRY = (
    r"(?i)permission denied|permission to .* denied|access denied|authentication failed|returned error: 40[13]\b"
    r"|repository not found|could not read (username|password)|host key verification failed"
)
SHORT_MAX = 2000


def of(lines: Sequence[str]) -> PermanentError | None:
    """What the other side of a push has against it for good, by the lines that it printed; None where it is not that.

    >>> of(["error: GH013: Repository rule violations found for x.", "- Push cannot contain secrets", "path: signature.py:1"])
    ContentRefusedError('the push was refused: Push cannot contain secrets; path: signature.py:1')
    >>> of(["frozen: ask Ann", "! [remote rejected] agent/restricted (pre-receive hook declined)"])
    """
    reasons = [found["why"] for line in lines if (found := re.fullmatch(_REASON, line))]
    spoken = [line for line in lines if line.startswith(_SCOPE)] + [why for why in reasons if why.startswith(_SCOPE)]
    if spoken:
        scope = "'gh auth refresh --scopes workflow' lets this login push them, then 'reconcile retry' pushes"
        return PermanentError(f"the push was refused: {spoken[0]}", hint=scope)
    rules = [line for line in lines if re.match(_RULE, line)]
    if not any(re.match(_CONTENT, line) for line in lines) and _DECLINED not in reasons:
        return None
    words = in_short(lines)
    if any(re.search(_NOT_CONTENT, line) for line in (*rules, *reasons)):
        return PermanentError(f"the push was refused: {words}", hint="see the rules of the repository")
    return ContentRefusedError(f"the push was refused: {words}")


def lasting(lines: Sequence[str], complaint: str) -> bool:
    """True where a push was refused for now, by somebody and not by chance: it is shown the first time, not the second.

    >>> lasting(["frozen: ask Ann", "! [remote rejected] main -> main (pre-receive hook declined)"], "")
    True
    >>> lasting(["! [remote rejected] main -> main (cannot lock ref 'refs/heads/main': ...)"], "")
    False
    >>> lasting([], "git@host: Permission denied (publickey)."), lasting([], "Could not resolve host: github.com")
    (True, False)
    """
    reasons = [line for line in lines if line.startswith("! [remote rejected]")]
    return bool(re.search(_NO_ENTRY, complaint)) or any(not re.search(_CHANCE, why) for why in map(_why, reasons))


def _why(line: str) -> str:
    return line.rpartition(" (")[2]


def in_short(lines: Sequence[str]) -> str:
    """What a reader needs of these lines, on one line."""
    telling = [re.sub(_RULES_OF_DASHES, "", line) for line in lines if not re.fullmatch(_IDLE, line)]
    whole = "; ".join(filter(None, telling)) or "; ".join(lines)
    return whole if len(whole) <= SHORT_MAX else f"{whole[:SHORT_MAX]} …"
