"""Which comments on a pull request go to an agent, which once, and which never."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import worlds
from worlds import ago

from reconciler.model.desired import Comments, MergePolicy
from reconciler.model.observed import Comment, Thread
from reconciler.model.report import Fault, Report
from reconciler.planning.review_comments import TEXT_MAX, Discussion, discussion_of

POLICY = MergePolicy()


def a_comment(
    id: str = "c1", by: str = "ann", seconds_ago: float = 300, text: str = "why?", *, bot: bool = False
) -> Comment:
    return Comment(id=id, by=by, text=text, at=ago(seconds_ago), bot=bot)


def a_word(id: str = "c9", by: str = "bob", seconds_ago: float = 300, *, bot: bool = False) -> Comment:
    return Comment(id=id, by=by, text="and the docs?", at=ago(seconds_ago), bot=bot, review=False)


def a_thread(*comments: Comment) -> Thread:
    return Thread(path="src/a.py", line=12, comments=comments or (a_comment(),))


def of(*threads: Thread, remarks: tuple[Comment, ...] = (), policy: MergePolicy = POLICY, runs: Any = ()) -> Discussion:
    return discussion_of(worlds.a_pull(author="robot", threads=threads, remarks=remarks), policy, runs)


def test_a_thread_is_handed_over_with_place_and_words_of_everybody_in_it() -> None:
    found = of(a_thread(a_comment("c1", "ann", text="why?"), a_comment("c2", "bob", text="indeed")))
    assert found.ids == ("c1", "c2")
    assert found.text == "At src/a.py:12\nann: why?\nbob: indeed"
    assert found.summary == found.awaited == "src/a.py:12 (ann)"


def test_it_is_handed_over_once_for_its_newest_comment() -> None:
    told = worlds.a_run(heard=frozenset({"c1"}))
    assert of(a_thread(a_comment("c1")), runs=(told,)).due == ()
    assert of(a_thread(a_comment("c1")), runs=(told,)).open
    assert of(a_thread(a_comment("c1"), a_comment("c2")), runs=(told,)).ids == ("c1", "c2")


@pytest.mark.parametrize(
    "run",
    [
        {"state": "lost", "exit": None},
        {"exit": {"code": 1}},
        {"exit": {"code": None, "signal": 9}},
        {"exit": {"code": None, "cause": "stuck"}},
        {"exit": {"code": None, "cause": "stopped", "stop": "person"}},
        {"exit": {"code": 1, "cause": "setup"}},
        {"exit": {"code": None, "cause": "unavailable"}},
        {"report": Report(fault=Fault.USAGE_LIMIT)},
        {"report": Report(fault=Fault.UNAVAILABLE)},
        {"report": Report(fault=Fault.NETWORK)},
    ],
    ids=["lost", "failed", "killed", "stuck", "stopped", "set-up", "not there", "limit", "logged out", "network"],
)
def test_what_a_run_was_given_and_did_not_end_well_with_is_handed_over_again(run: dict[str, Any]) -> None:
    assert of(a_thread(), runs=(worlds.a_run(heard=frozenset({"c1"}), **run),)).due


@pytest.mark.parametrize(
    "run", [{"state": "running"}, {}, {"exit": {"code": None, "cause": "stopped", "stop": "done"}}]
)
def test_a_run_at_work_or_well_ended_has_heard_what_it_was_given(run: dict[str, Any]) -> None:
    assert not of(a_thread(), runs=(worlds.a_run(heard=frozenset({"c1"}), **run),)).due


def test_what_its_own_agent_answers_asks_for_no_attempt_and_settles_nothing() -> None:
    run = worlds.a_run(started_at=ago(1000), exit={"at": ago(900)}, heard=frozenset({"c1"}))
    for seconds in (950, 895, 800):  # the forge's clock is another one
        found = of(a_thread(a_comment(seconds_ago=2000), a_comment("c2", "robot", seconds)), runs=(run,))
        assert not found.due and found.open
    later = a_comment("c3", "robot", 50)
    assert of(a_thread(a_comment(), later), runs=(run,)).due  # a person may use the same login


@pytest.mark.parametrize(
    "run", [{"exit": {"at": ago(900)}}, {"state": "lost", "exit": None, "last_progress_at": ago(900)}]
)
@pytest.mark.parametrize("seconds", [950, 300, 1])
def test_a_conversation_that_the_same_login_begins_is_a_persons_whenever_that_was(
    run: dict[str, Any], seconds: int
) -> None:
    ran = worlds.a_run(started_at=ago(1000), **run)
    found = of(a_thread(a_comment("c1", "robot", seconds, "STOP")), runs=(ran,))
    assert found.open and found.due


def test_what_a_person_keeps_from_landing_gets_no_agent() -> None:
    pull = worlds.a_pull(author="robot", threads=(a_thread(),), aside="is a draft")
    assert discussion_of(pull, POLICY, ()).open and not discussion_of(pull, POLICY, ()).due


def test_a_bot_that_nobody_named_says_nothing_and_one_that_is_named_asks_for_an_attempt() -> None:
    bot = a_comment("c1", "Some-Bot", bot=True)
    assert of(a_thread(bot), remarks=(bot,)) == Discussion()
    named = of(
        a_thread(bot), remarks=(a_comment("c9", "some-bot", bot=True),), policy=MergePolicy(review_bots=("some-bot",))
    )
    assert len(named.due) == 2 and named.summary == "src/a.py:12 (Some-Bot); a review by some-bot"


def test_a_persons_remark_only_joins_what_is_said_anyway() -> None:
    found = of(a_thread(), remarks=(a_comment("c9", "bob", text="and the docs?"),))
    assert [type(each) for each in found.due] == [Thread]
    assert found.ids == ("c1", "c9") and found.text.endswith("bob:\nand the docs?")


def test_a_persons_comment_under_the_whole_starts_nothing_and_joins_the_next_feedback() -> None:
    alone = of(remarks=(a_word(),))
    assert (alone.open, alone.due) == ((), ()) and alone.text == "bob:\nand the docs?" and alone.ids == ("c9",)
    assert of(remarks=(a_word(),), runs=(worlds.a_run(heard=frozenset({"c9"})),)).ids == ()


def test_a_named_bots_comment_under_the_whole_asks_for_an_attempt_like_its_reviews() -> None:
    named = MergePolicy(review_bots=("some-bot",))
    assert of(remarks=(a_word(by="some-bot", bot=True),)) == Discussion()
    assert of(remarks=(a_word(by="Some-Bot", bot=True),), policy=named).summary == "a comment by Some-Bot"
    assert of(remarks=(a_word(by="some-bot"),), policy=named).due  # a program may have the login of a person


@pytest.mark.parametrize("review", [True, False])
def test_what_an_agent_writes_with_the_login_that_opened_the_pull_request_is_no_persons(review: bool) -> None:
    run = worlds.a_run(started_at=ago(1000), exit={"at": ago(900)})
    at_work = msgspec.structs.replace(a_word(by="robot", seconds_ago=950), review=review)
    assert of(remarks=(at_work,), runs=(run,)) == Discussion()
    assert of(remarks=(a_word(by="robot", seconds_ago=300),), runs=(run,)).ids  # of a person with the same login
    assert of(remarks=(a_word(by="ann", seconds_ago=950),), runs=(run,)).ids


def test_a_persons_yes_to_exactly_this_head_outweighs_what_bots_have_against_it() -> None:
    words = (a_word(by="some-bot", bot=True),)
    policy = MergePolicy(review_bots=("some-bot",))
    pull = worlds.a_pull(author="robot", remarks=words)
    assert discussion_of(pull, policy, ()).due
    approved = msgspec.structs.replace(pull, approved=pull.head)
    assert not discussion_of(approved, policy, ()).due and discussion_of(approved, policy, ()).ids


def test_where_people_answer_no_agent_does_and_where_nobody_has_to_nobody_is_asked() -> None:
    waits = of(a_thread(), policy=MergePolicy(comments=Comments.WAIT))
    assert waits.open and not waits.due and not waits.text
    assert of(a_thread(), policy=MergePolicy(comments=Comments.IGNORE)) == Discussion()


def test_what_a_prompt_can_not_hold_is_for_the_next_one_and_no_word_writes_on_a_terminal() -> None:
    threads = tuple(a_thread(a_comment(f"c{n}", text="x\x1b[2J" * 100)) for n in range(50))
    remark = (a_comment("r", text="and the docs?"),)
    first = of(*threads, remarks=remark)
    assert len(first.text) <= TEXT_MAX + 2 * len(first.ids) and "\x1b" not in first.text
    assert first.summary.endswith(" …")
    runs, heard = [], set[str]()
    for n in range(1, 9):
        ids = of(*threads, remarks=remark, runs=runs).ids
        assert not heard & set(ids)
        heard |= set(ids)
        runs.append(worlds.a_run(n=n, heard=frozenset(ids)))
    assert heard == {*(f"c{n}" for n in range(50)), "r"}


def test_one_that_is_too_long_for_any_prompt_is_cut_and_handed_over() -> None:
    found = of(a_thread(*(a_comment(f"c{n}", text="x" * 5000) for n in range(10))))
    assert len(found.ids) == 10 and "x …" in found.text


def test_what_we_posted_for_a_reviewer_is_no_conversation_until_somebody_answers_it() -> None:
    ours = msgspec.structs.replace(a_comment("c1", "robot", 1000), ours=True)
    assert of(a_thread(ours)) == Discussion()
    assert of(a_thread(ours), policy=MergePolicy(review_bots=("robot",))) == Discussion()
    answered = of(a_thread(ours, a_comment("c2", "ann", text="it is meant so")))
    assert answered.open and answered.due and answered.ids == ("c1", "c2")


def test_an_agents_answer_to_what_we_posted_asks_for_no_attempt_and_settles_nothing() -> None:
    run = worlds.a_run(started_at=ago(1000), exit={"at": ago(900)})
    ours = msgspec.structs.replace(a_comment("c1", "robot", 2000), ours=True)
    found = of(a_thread(ours, a_comment("c2", "robot", 950)), runs=(run,))
    assert found.open and not found.due
