"""Every kind of agent, each a row: what its program reports of a run, and how it is logged in.

Beside its row a kind is one module in `reconciler.agents`, of the same name. Nothing here has a default: what nobody has
known of a program, nobody may rely on. `reconcile explain agents` prints the table.
"""

from __future__ import annotations

from msgspec import Struct

from reconciler.model.tables import Table


class Login(Struct, frozen=True, kw_only=True):
    """How a program is logged in. `command`: what a person runs on a terminal, empty where there is nothing but keys;
    `keys`: the variables that do instead, the usual one first, which its runs are given.

    `ask`: its arguments that end with 0 where it is logged in, from version `since` on; a program that has none, and can't
    be asked, leaves one of `files` in the home folder.
    """

    command: str
    keys: tuple[str, ...]
    ask: tuple[str, ...]
    since: tuple[int, int, int]
    files: tuple[str, ...]

    @property
    def advice(self) -> str:
        """What a person does about it, in words."""
        key = f"set {self.keys[0]} where reconcile runs"
        return f"run '{self.command}', or {key}" if self.command else key


class KindRow(Struct, frozen=True, kw_only=True):
    """What there is to know about a kind before its program has run.

    `reports_cost`, `reports_tokens`: it says what a run has used, so that a budget can be kept; `reports_end`: it prints that
    it came to its end, whatever its exit status, and one that did not print that has failed. `keeps_limit`: it can be given what
    a run may cost, and ends by itself there. `tells_cost`: it says what it has cost so far while it works, so that we end it there.
    `structured`: the option by which it is given the schema of its last answer, which it prints as a JSON object; empty where it has none.
    """

    reports_cost: bool
    reports_tokens: bool
    reports_end: bool
    keeps_limit: bool
    tells_cost: bool
    structured: str
    login: Login | None

    @property
    def bounded(self) -> bool:
        """True where what one run may cost is kept, by its program or by us."""
        return self.keeps_limit or self.tells_cost

    @property
    def keys(self) -> tuple[str, ...]:
        """The variables that its runs are given of the caller's environment."""
        return self.login.keys if self.login else ()


_ANY_VERSION = (0, 0, 0)
_OF_MANY_MODELS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY")


class AgentKind(Table):
    """The value is the word in a manifest, and but for `command` the name of the program."""

    row: KindRow

    COMMAND = (
        "command",
        KindRow(
            reports_cost=False,
            reports_tokens=False,
            reports_end=False,
            keeps_limit=False,
            tells_cost=False,
            structured="",
            login=None,
        ),
    )
    CLAUDE = (
        "claude",
        KindRow(
            reports_cost=True,
            reports_tokens=True,
            reports_end=True,
            keeps_limit=True,
            tells_cost=False,
            structured="--json-schema",
            login=Login(
                command="claude auth login",
                keys=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
                ask=("auth", "status"),
                since=(2, 1, 41),  # an older one takes the words for a prompt, and begins to work
                files=(),
            ),
        ),
    )
    CODEX = (
        "codex",
        KindRow(
            reports_cost=False,
            reports_tokens=True,
            reports_end=True,
            keeps_limit=False,
            tells_cost=False,
            structured="",
            login=Login(
                command="codex login",
                keys=("OPENAI_API_KEY", "CODEX_API_KEY"),
                ask=("login", "status"),
                since=(0, 39, 0),
                files=(),
            ),
        ),
    )
    GEMINI = (
        "gemini",
        KindRow(
            reports_cost=False,
            reports_tokens=True,
            reports_end=True,
            keeps_limit=False,
            tells_cost=False,
            structured="",
            login=Login(
                command="gemini",
                keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
                ask=(),
                since=_ANY_VERSION,
                files=(".gemini/oauth_creds.json",),
            ),
        ),
    )
    OPENCODE = (
        "opencode",
        KindRow(
            reports_cost=True,
            reports_tokens=True,
            reports_end=True,
            keeps_limit=False,
            tells_cost=True,
            structured="",
            login=Login(
                command="opencode auth login",
                keys=_OF_MANY_MODELS,
                ask=(),
                since=_ANY_VERSION,
                files=(".local/share/opencode/auth.json", ".config/opencode/opencode.json"),
            ),
        ),
    )
    AIDER = (
        "aider",
        KindRow(
            reports_cost=True,
            reports_tokens=True,
            reports_end=False,
            keeps_limit=False,
            tells_cost=True,
            structured="",
            login=Login(
                command="", keys=_OF_MANY_MODELS, ask=(), since=_ANY_VERSION, files=(".aider.conf.yml", ".env")
            ),
        ),
    )


REPORTS_END = frozenset(kind for kind in AgentKind if kind.row.reports_end)
REPORTS_COST = frozenset(kind for kind in AgentKind if kind.row.reports_cost)
TELLS_COST = frozenset(kind for kind in AgentKind if kind.row.tells_cost)
STRUCTURED = frozenset(kind for kind in AgentKind if kind.row.structured)
