"""What agents are started with, and what is read off what they print. Nothing in it is believed without a look."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import worlds

from reconciler.agents import AGENTS, claude, command
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.ports import Assignment
from reconciler.model.report import Fault, Report
from reconciler.planning.budget import spent

SESSION = "0b5d8c1e-7d3f-4e9a-9d43-6f9d3c0c7a11"
VALUES = {name: f"--{name}" for name in ("task", "epic", "branch", "base", "worktree", "attempt")} | {
    "prompt_file": "/runs/work/x-1/1/prompt"
}


def lines(*found: object) -> str:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in found)


# --- every kind ----------------------------------------------------------------------------------------------


def test_there_is_an_agent_for_every_kind_that_a_manifest_may_name() -> None:
    assert set(AGENTS) == set(AgentKind)


KNOWN = [kind for kind in AgentKind if AGENTS[kind].program]


@pytest.mark.parametrize("kind", KNOWN)
def test_no_word_of_a_task_is_an_argument_of_a_known_agent(kind: AgentKind) -> None:
    started = AGENTS[kind].invocation(AgentSpec(kind=kind), Assignment(values=VALUES))

    assert started.argv[0] == AGENTS[kind].program
    hostile = [part for part in started.argv if part.startswith("--") and part.removeprefix("--") in VALUES]
    assert not hostile
    assert started.prompt_on_stdin or any(VALUES["prompt_file"] in part for part in started.argv)


@pytest.mark.parametrize("kind", KNOWN)
def test_a_model_is_passed_on(kind: AgentKind) -> None:
    started = AGENTS[kind].invocation(AgentSpec(kind=kind), Assignment(values=VALUES, model="some/model-1"))

    assert any("some/model-1" in part for part in started.argv)


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize(
    "log",
    [
        "",
        "\0\x1b[2J",
        "{",
        "[]\n{}\nnull\n1\n",
        "{" * 100_000,
        '{"type": []}\n{"type": {"a": 1}}\n',
        "[" * 100_000 + "\n",
    ],
    ids=["nothing", "controls", "cut", "no objects", "braces", "odd types", "deep"],
)
def test_garbage_says_nothing(kind: AgentKind, log: str) -> None:
    report = AGENTS[kind].report(log)

    assert report is not None
    assert (report.done, report.session, report.usd, report.retry_at) == (False, None, None, None)
    assert list(AGENTS[kind].shown(log)) is not None


# --- claude --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", [None, ".env", ".gemini/.env"])
@pytest.mark.parametrize("own", [None, ".env", ".gemini/.env"])
def test_a_reviewer_that_is_gemini_has_its_settings_from_home_or_from_the_change(
    tmp_path: Path, home: str | None, own: str | None
) -> None:
    (step,) = (
        AGENTS[AgentKind.GEMINI]
        .invocation(AgentSpec(kind=AgentKind.GEMINI), Assignment(values=VALUES, apart=True))
        .before
    )
    worktree = tmp_path / "trees" / "x"
    for file in (home and tmp_path / "home" / home, own and worktree / own):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(file))
    worktree.mkdir(parents=True, exist_ok=True)

    subprocess.run(step, cwd=worktree, env={**os.environ, "HOME": str(tmp_path / "home")}, check=True)

    first = next(file for file in (worktree / ".gemini/.env", worktree / ".env") if file.exists())
    found = worktree / own if own else tmp_path / "home" / home if home else None
    assert first.read_text() == (str(found) if found else "")


def test_a_reviewer_that_is_claude_is_told_nothing_by_what_stands_above_its_worktree() -> None:
    values = {**VALUES, "worktree": "/home/ann/trees [1]/.checks/x-1@c1"}

    argv = claude.agent.invocation(AgentSpec(kind=AgentKind.CLAUDE), Assignment(values=values, apart=True)).argv

    (settings,) = (part.removeprefix("--settings=") for part in argv if part.startswith("--settings="))
    excluded = json.loads(settings)["claudeMdExcludes"]
    assert "--strict-mcp-config" in argv
    assert {
        r"/home/ann/trees \[1\]/.checks/CLAUDE.md",
        r"/home/ann/trees \[1\]/.claude/**",
        "/home/ann/AGENTS.md",
    } <= set(excluded)
    assert "/home/ann/.claude/**" not in excluded
    alone = claude.agent.invocation(AgentSpec(kind=AgentKind.CLAUDE), Assignment(values=values)).argv
    assert "--strict-mcp-config" not in alone and not [part for part in alone if part.startswith("--settings")]


INIT = {"type": "system", "subtype": "init", "session_id": SESSION}
TOOL = {"type": "tool_use", "name": "Bash", "input": {"command": "just check"}}
SAID = {
    "type": "assistant",
    "session_id": SESSION,
    "message": {
        "id": "m1",
        "content": [{"type": "text", "text": "I look."}, TOOL],
        "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 999},
    },
}
DONE = {"type": "result", "subtype": "success", "is_error": False, "result": "Done.", "total_cost_usd": 0.5}
USED = {"claude-x": {"inputTokens": 100, "outputTokens": 20, "cacheReadInputTokens": 7000, "costUSD": 0.125}}


def test_a_result_says_what_was_done_and_used() -> None:
    report = claude.agent.report(lines(INIT, SAID, {**DONE, "model_usage_since_last_result": USED}))

    assert (report.done, report.fault, report.message, report.session) == (True, None, "Done.", SESSION)
    # The total is of the session; this run went on with it and cost less.
    assert (report.usd, report.tokens) == (0.125, 120)


def test_a_file_that_a_tool_reads_sets_no_date_for_a_limit() -> None:
    read = {"type": "user", "message": {"content": [{"type": "tool_result", "content": "limit reached|1999999999"}]}}
    limit = {**DONE, "is_error": True, "result": "Claude AI usage limit reached|1795775045"}

    report = claude.agent.report(lines(INIT, read, limit))

    assert (report.retry_at, report.worded) == (datetime.fromtimestamp(1795775045, UTC), True)


def test_a_limit_that_only_a_tool_an_answer_or_another_error_speaks_of_is_none() -> None:
    words = "Claude AI usage limit reached|1999999999"
    spoken = {**SAID, "message": {"id": "m2", "content": [{"type": "text", "text": words}]}}

    for end in ((), (DONE,), ({**FAILED, "result": f"API Error: 400 in the file: {words}"},), (words,)):
        report = claude.agent.report(lines(INIT, spoken, *end))
        assert (report.fault is Fault.USAGE_LIMIT, report.retry_at) == (False, None), end


def test_one_that_was_killed_has_used_what_it_was_answered_once_for_every_message() -> None:
    report = claude.agent.report(lines(INIT, SAID, SAID)[:-20])

    assert (report.done, report.fault, report.usd, report.tokens) == (False, None, None, 15)
    assert (report.session, report.message) == (SESSION, "I look.")


FAILED = {"type": "result", "subtype": "success", "is_error": True, "terminal_reason": "api_error", "result": "No."}


@pytest.mark.parametrize(
    ("log", "fault"),
    [
        (lines({**FAILED, "api_error_status": 401}), Fault.UNAVAILABLE),
        (lines({"type": "assistant", "error": "authentication_failed"}, FAILED), Fault.UNAVAILABLE),
        (lines({"type": "assistant", "error": "billing_error"}, FAILED), Fault.UNPAID),
        (lines({**FAILED, "result": "Not logged in · Please run /login"}), Fault.UNAVAILABLE),
        ("--dangerously-skip-permissions cannot be used with root/sudo privileges\n", Fault.UNAVAILABLE),
        (lines({**FAILED, "api_error_status": 429}), Fault.USAGE_LIMIT),
        (lines({**FAILED, "api_error": "usage_limit_reached"}), Fault.USAGE_LIMIT),
        (lines({**FAILED, "result": "Claude AI usage limit reached|1795775045"}), Fault.USAGE_LIMIT),
        (lines(INIT, {"type": "system", "subtype": "api_retry", "error_status": 429}), Fault.USAGE_LIMIT),
        (lines({**FAILED, "api_error": "connection_failed"}), Fault.NETWORK),
        (lines({**FAILED, "api_error_status": 529}), Fault.NETWORK),
        (lines({**FAILED, "api_error_status": 500}), Fault.NETWORK),
        (lines({**FAILED, "api_error_status": 400}), Fault.FAILED),
        (lines({**FAILED, "api_error_status": 404}), Fault.MODEL),
        (lines({**SAID, "error": "model_not_found"}, {**FAILED, "terminal_reason": "api_error"}), Fault.MODEL),
        (lines({**FAILED, "result": "Credit balance is too low"}), Fault.UNPAID),
        (lines({**FAILED, "result": "There's an issue with the selected model (x). It may not exist or"}), Fault.MODEL),
        (lines({**FAILED, "terminal_reason": "prompt_too_long", "api_error_status": 400}), Fault.CONTEXT),
        (lines({**FAILED, "terminal_reason": "budget_exhausted", "subtype": "error_max_budget_usd"}), Fault.BUDGET),
        (lines({**FAILED, "subtype": "error_during_execution", "is_error": False}), Fault.FAILED),
        (lines({**FAILED, "errors": [f"No conversation found with session ID: {SESSION}"]}), Fault.SESSION),
        (lines({**DONE, "permission_denials": [{"tool_name": "Bash"}]}), Fault.REFUSED),
    ],
)
def test_what_went_wrong_is_told_apart(log: str, fault: Fault) -> None:
    report = claude.agent.report(log)

    assert report.fault is fault
    assert report.done is (fault is Fault.REFUSED)


def test_what_set_up_commands_printed_before_it_is_no_word_of_its_own() -> None:
    assert claude.agent.report(lines("Not logged in to the registry", "a", "b", "c", INIT)).fault is None
    assert claude.agent.report(lines("Not logged in to the registry", FAILED)).fault is Fault.FAILED


def test_when_a_limit_is_lifted_is_read_where_it_can_be_a_date() -> None:
    def lifted(at: object) -> datetime | None:
        limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": at}}
        return claude.agent.report(lines(limit, {**FAILED, "api_error_status": 429})).retry_at

    assert lifted(1795775045) == datetime.fromtimestamp(1795775045, UTC)
    assert [lifted(at) for at in (-1, 10**30, "soon", True, None, float("inf"))] == [None] * 6


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), 1e12, "1", True, [1], None])
def test_numbers_that_can_be_no_cost_and_no_count_are_none(wrong: object) -> None:
    usage = {"input_tokens": wrong, "output_tokens": 1}
    report = claude.agent.report(lines({**DONE, "total_cost_usd": wrong, "usage": usage}))

    assert report.usd is None
    assert report.tokens == 1


@pytest.mark.parametrize("id", ["--dangerous", "../../x", "a b", "x" * 100, 7, None])
def test_what_can_be_no_session_becomes_no_argument(id: object) -> None:
    assert claude.agent.report(lines({**INIT, "session_id": id}, DONE)).session is None


def test_as_root_it_works_only_where_a_sandbox_is_declared() -> None:
    assert "IS_SANDBOX=1" in str(claude.agent.unfit({}, root=True))
    assert claude.agent.unfit({"IS_SANDBOX": "1"}, root=True) is None
    assert claude.agent.unfit({}, root=False) is None


def test_its_log_is_shown_as_what_was_said_and_done() -> None:
    answer = {"type": "user", "message": {"content": [{"type": "tool_result", "content": "1\n2\n3\n4\n5"}]}}

    assert list(
        claude.agent.shown(lines("npm notice", INIT, SAID, answer, {**DONE, "terminal_reason": "completed"}))
    ) == [
        "npm notice",
        "I look.",
        "> Bash just check",
        "  1",
        "  2",
        "  3",
        "  …",
        "= completed, $0.50",
    ]


# --- a command -----------------------------------------------------------------------------------------------


def test_a_command_gets_its_placeholders_and_keeps_every_other_brace() -> None:
    spec = AgentSpec(argv=("x", "{task}", "{other}", '{"a": {}}', "--to={branch}"))

    assert command.agent.invocation(spec, Assignment(values={**VALUES, "task": "$(rm)", "branch": "agent/x"})).argv == (
        *("x", "$(rm)", "{other}", '{"a": {}}', "--to=agent/x"),
    )


def test_what_a_command_prints_means_nothing() -> None:
    assert command.agent.report(lines(DONE)) is None
    assert worlds.a_run(agent="command").report is None


# --- codex, gemini, opencode, aider --------------------------------------------------------------------------

CODEX = (
    {"type": "thread.started", "thread_id": SESSION},
    {"type": "turn.started"},
    {"type": "item.completed", "item": {"type": "agent_message", "text": "Done."}},
    {"type": "turn.completed", "usage": {"input_tokens": 90, "cached_input_tokens": 40, "output_tokens": 10}},
)
GEMINI = (
    {"type": "init", "session_id": SESSION},
    {"type": "message", "role": "assistant", "content": "I will", "delta": True},
    {"type": "tool_result", "output": "x"},
    {"type": "message", "role": "assistant", "content": "Do", "delta": True},
    {"type": "message", "role": "assistant", "content": "ne.", "delta": True},
    {"type": "result", "status": "success", "stats": {"input": 50, "input_tokens": 90, "output_tokens": 10}},
)
STEP = {"reason": "stop", "cost": 0.25, "tokens": {"input": 25, "output": 5, "cache": {"read": 99, "write": 0}}}
OPENCODE = (
    {"type": "step_finish", "sessionID": "ses_de39160bbffegzcCmRY8P2dJzZ", "part": {**STEP, "reason": "tool-calls"}},
    {"type": "text", "part": {"text": "Done."}},
    {"type": "step_finish", "part": STEP},
)


@pytest.mark.parametrize(
    ("kind", "log", "session", "usd"),
    [
        (AgentKind.CODEX, CODEX, SESSION, None),
        (AgentKind.GEMINI, GEMINI, SESSION, None),
        (AgentKind.OPENCODE, OPENCODE, "ses_de39160bbffegzcCmRY8P2dJzZ", 0.5),
    ],
)
def test_each_says_what_it_did_and_used(kind: AgentKind, log: tuple[object, ...], session: str, usd: float) -> None:
    report = AGENTS[kind].report(lines("Warning: 256 colors", *log))

    assert report is not None
    assert (report.done, report.fault, report.message, report.session, report.usd, report.tokens) == (
        *(True, None, "Done.", session, usd, 60),
    )


def test_an_end_that_is_missing_is_no_success() -> None:
    for kind, log in ((AgentKind.CODEX, CODEX), (AgentKind.GEMINI, GEMINI), (AgentKind.OPENCODE, OPENCODE)):
        report = AGENTS[kind].report(lines(*log)[:-30])
        assert report is not None and (report.done, report.fault) == (False, None), kind


@pytest.mark.parametrize(
    ("kind", "log", "fault"),
    [
        (
            "codex",
            lines({"type": "turn.failed", "error": {"message": "unexpected status 401 Unauthorized"}}),
            "unavailable",
        ),
        (
            "codex",
            lines({"type": "turn.failed", "error": {"message": "last status: 429 Too Many Requests"}}),
            "usage-limit",
        ),
        (
            "codex",
            lines(
                {
                    "type": "turn.failed",
                    "error": {"message": "The model `gpt-9` does not exist or you do not have access"},
                }
            ),
            "model",
        ),
        ("codex", lines({"type": "turn.failed", "error": {"message": "429: insufficient_quota"}}), "unpaid"),
        ("codex", lines({"type": "error", "message": "Reconnecting... waiting for network"}), "network"),
        ("codex", "Error: thread/resume failed: no rollout found for thread id x\n", "session"),
        ("codex", lines({"type": "turn.failed", "error": {}}), "failed"),
        (
            "gemini",
            lines({"type": "result", "status": "error", "error": {"message": "API key not valid"}}),
            "unavailable",
        ),
        ("gemini", "When using Gemini API, you must specify the GEMINI_API_KEY environment variable.\n", "unavailable"),
        (
            "gemini",
            lines(
                {"type": "result", "status": "error", "error": {"message": "models/x is not found for API version v1"}}
            ),
            "model",
        ),
        ("gemini", 'Error resuming session: Invalid session identifier "x".\n', "session"),
        ("gemini", "Attempt 9 failed with status 429. Retrying with backoff...\n", "usage-limit"),
        (
            "opencode",
            lines({"type": "error", "error": {"name": "APIError", "data": {"statusCode": 401}}}),
            "unavailable",
        ),
        ("opencode", lines({"type": "error", "error": {"name": "ContextOverflowError"}}), "context"),
        (
            "opencode",
            lines(
                {
                    "type": "error",
                    "error": {"name": "ProviderModelNotFoundError", "data": {"message": "Model not found: x"}},
                }
            ),
            "model",
        ),
        ("opencode", "\x1b[91m\x1b[1mError: \x1b[0mSession not found\n", "session"),
        ("aider", "litellm.AuthenticationError: Missing Anthropic API Key\n", "unavailable"),
        ("aider", "litellm.NotFoundError: AnthropicException - 404 model: claude-x\n", "model"),
        (
            "aider",
            'litellm.BadRequestError: AnthropicException - {"type": "error", "error": \n'
            '{"type": "invalid_request_error", "message": "Your credit balance is too low to \n'
            'access the Anthropic API."}}\n\nAn answer about a model that was not found.\n',
            "unpaid",
        ),
        ("aider", "litellm.BadRequestError: odd\n\nAn answer about a model that was not found.\n", "failed"),
        ("aider", "litellm.RateLimitError: wait\nRetrying in 4 seconds...\n", "usage-limit"),
        ("aider", "Tokens: 1 sent, 0 received.\nModel x/y has hit a token limit!\n", "context"),
    ],
)
def test_their_failures_are_told_apart_too(kind: str, log: str, fault: str) -> None:
    report = AGENTS[kind].report(log)

    assert report is not None and (report.fault, report.done) == (Fault(fault), False)


@pytest.mark.parametrize(
    ("words", "lifted"),
    [
        ("1:26 PM", "2026-11-27 13:27"),
        ("9:05 AM", "2026-11-28 09:06"),
        ("Nov 30th, 2026 12:36 PM", "2026-11-30 12:37"),
        ("Nov 31st, 2026 12:36 PM", None),
        ("some time", None),
    ],
)
def test_codex_says_in_words_when_a_limit_is_lifted(words: str, lifted: str | None) -> None:
    ended = datetime(2026, 11, 27, 12, 36).astimezone()
    failed = {"type": "turn.failed", "error": {"message": f"You've hit your usage limit. Or try again at {words}."}}

    report = AGENTS[AgentKind.CODEX].report(lines(*CODEX[:3], failed), ended)

    assert report is not None
    assert report.retry_at == (datetime.fromisoformat(lifted).astimezone() if lifted else None)
    assert report.worded is (lifted is not None)


def test_a_request_of_aiders_that_succeeded_in_the_end_did_not_fail() -> None:
    log = (
        "litellm.RateLimitError: wait\nRetrying in 0.2 seconds...\n"
        "Tokens: 1.0k sent, 12k cache hit, 100 received. Cost: $0.0045 message, $0.0045 session.\n"
        "Tokens: 2k sent, 1.5k received. Cost: $0.0100 message, $0.0145 session.\nCommit ce3211d Do it\n"
    )

    report = AGENTS[AgentKind.AIDER].report(log)

    assert report is not None
    assert (report.fault, report.usd, report.tokens, report.message) == (None, 0.0145, 4600, "Commit ce3211d Do it")


def test_of_a_thread_that_was_gone_on_with_only_what_is_new_is_counted() -> None:
    def run(n: int, tokens: int, session: str = SESSION) -> object:
        return worlds.a_run(n=n, agent="codex", report=Report(tokens=tokens, session=session, of_session=True))

    assert spent([run(1, 100), run(2, 250), run(3, 40, "another-one")]).tokens == 290


def test_a_session_is_gone_on_with_as_each_program_wants_it() -> None:
    def argv(kind: AgentKind) -> tuple[str, ...]:
        return AGENTS[kind].invocation(AgentSpec(kind=kind), Assignment(values=VALUES, session=SESSION)).argv

    assert f"--resume={SESSION}" in argv(AgentKind.CLAUDE)
    assert argv(AgentKind.CODEX)[:3] == ("codex", "exec", "resume") and argv(AgentKind.CODEX)[-2:] == (SESSION, "-")
    assert f"--resume={SESSION}" in argv(AgentKind.GEMINI)
    assert f"--session={SESSION}" in argv(AgentKind.OPENCODE)
    assert SESSION not in " ".join(argv(AgentKind.AIDER))


def test_what_a_run_has_cost_is_added_up_from_what_is_printed_as_it_goes() -> None:
    step = json.dumps({"type": "step_finish", "part": {"cost": 0.25}})
    hostile = json.dumps({"type": "step_finish", "part": {"cost": -5}}) + "\n" + json.dumps({"type": "step_finish"})
    opencode, aider = AGENTS[AgentKind.OPENCODE], AGENTS[AgentKind.AIDER]
    assert opencode.cost(f"{step}\nnoise\n{step}\n{hostile}\n", 1.0) == 1.5
    said = "Tokens: 1k sent, 20 received. Cost: $0.10 message, $0.{} session.\n"
    assert aider.cost(said.format(25) + said.format(40), 0.1) == 0.4
    assert aider.cost("Cost: $9.99 of something\n", 0.4) == 0.4


@pytest.mark.parametrize(
    ("line", "idle"),
    [
        ('{"type":"system","subtype":"hook_response"}', True),
        ('{"type":"rate_limit_event"}', True),
        ('{"type":"system","subtype":"init","session_id":"s"}', False),
        ('{"type":"assistant","message":{}}', False),
        ('{"type":"result","subtype":"success"}', False),
        ("{", False),
    ],
)
def test_claude_begins_a_turn_with_its_init_or_with_words_and_with_nothing_else(line: str, idle: bool) -> None:
    assert AGENTS[AgentKind.CLAUDE].idle(line) is idle
