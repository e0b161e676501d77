"""How the programs of agents are logged in: what a person runs, and which variables do instead. Plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.desired import AgentKind

_OF_MANY_MODELS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY")


@dataclass(frozen=True, slots=True)
class Login:
    """`command`: what a person runs on a terminal; empty where there is nothing but keys. `keys`: the first is the usual one."""

    command: str
    keys: tuple[str, ...]


LOGINS: Mapping[str, Login] = {
    AgentKind.CLAUDE: Login(
        "claude auth login", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
    ),
    AgentKind.CODEX: Login("codex login", ("OPENAI_API_KEY", "CODEX_API_KEY")),
    AgentKind.GEMINI: Login("gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    AgentKind.OPENCODE: Login("opencode auth login", _OF_MANY_MODELS),
    AgentKind.AIDER: Login("", _OF_MANY_MODELS),
}


def how(kind: str) -> str:
    """What a person does about a login, in words; empty for a program of which nothing is known.

    >>> how("claude"), how("aider"), how("command")
    ("run 'claude auth login', or set ANTHROPIC_API_KEY where reconcile runs", 'set ANTHROPIC_API_KEY where reconcile runs', '')
    """
    if (login := LOGINS.get(kind)) is None:
        return ""
    key = f"set {login.keys[0]} where reconcile runs"
    return f"run '{login.command}', or {key}" if login.command else key
