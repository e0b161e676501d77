"""Which comments on a pull request go to an agent, which once, and which never."""

from __future__ import annotations

from typing import Any

import pytest
import worlds
from worlds import ago

from reconciler.model.desired import Comments, MergePolicy
from reconciler.model.observed import Comment, Thread
from reconciler.model.report import Fault, Report
from reconciler.planning.review_comments import TEXT_MOST, Said, said

POLICY = MergePolicy()


def a_comment(
    id: str = "c1", by: str = "ann", seconds_ago: float = 300, text: str = "why?", *, bot: bool = False
) -> Comment:
    return Comment(id=id, by=by, text=text, at=ago(seconds_ago), bot=bot)


def a_thread(*comments: Comment) -> Thread:
    return Thread(path="src/a.py", line=12, comments=comments or (a_comment(),))


def of(*threads: Thread, remarks: tuple[Comment, ...] = (), policy: MergePolicy = POLICY, runs: Any = ()) -> Said:
    return said(worlds.a_pull(author="robot", threads=threads, remarks=remarks), policy, runs)


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
        {"report": Report(fault=Fault.USAGE_LIMIT)},
        {"report": Report(fault=Fault.UNAVAILABLE)},
        {"report": Report(fault=Fault.NETWORK)},
        {"exit": {"code": None, "cause": "unavailable"}},
    ],
    ids=["lost", "limit", "logged out", "network", "not there"],
)
def test_what_a_run_never_got_to_is_handed_over_again(run: dict[str, Any]) -> None:
    assert of(a_thread(), runs=(worlds.a_run(heard=frozenset({"c1"}), **run),)).due


def test_a_run_at_work_has_heard_what_it_was_given() -> None:
    assert not of(a_thread(), runs=(worlds.a_run(state="running", heard=frozenset({"c1"})),)).due


def test_what_its_own_agent_answers_is_no_comment_to_be_answered() -> None:
    run = worlds.a_run(started_at=ago(200), exit={"at": ago(100)}, heard=frozenset({"c1"}))
    mine, later = a_comment("c2", "robot", 150), a_comment("c3", "robot", 50)
    assert not of(a_thread(a_comment(), mine), runs=(run,)).due
    assert of(a_thread(a_comment(), mine, later), runs=(run,)).due  # a person may use the same login
    assert not of(a_thread(mine), runs=(run,)).open


def test_a_bot_that_nobody_named_says_nothing_and_one_that_is_named_asks_for_an_attempt() -> None:
    bot = a_comment("c1", "Some-Bot", bot=True)
    assert of(a_thread(bot), remarks=(bot,)) == Said()
    named = of(
        a_thread(bot), remarks=(a_comment("c9", "some-bot", bot=True),), policy=MergePolicy(review_bots=("some-bot",))
    )
    assert len(named.due) == 2 and named.summary == "src/a.py:12 (Some-Bot); a review by some-bot"


def test_a_persons_remark_only_joins_what_is_said_anyway() -> None:
    found = of(a_thread(), remarks=(a_comment("c9", "bob", text="and the docs?"),))
    assert [type(each) for each in found.due] == [Thread]
    assert found.ids == ("c1", "c9") and found.text.endswith("bob:\nand the docs?")


def test_where_people_answer_no_agent_does_and_where_nobody_has_to_nobody_is_asked() -> None:
    waits = of(a_thread(), policy=MergePolicy(comments=Comments.WAIT))
    assert waits.open and not waits.due and not waits.text
    assert of(a_thread(), policy=MergePolicy(comments=Comments.IGNORE)) == Said()


def test_no_flood_of_words_is_longer_than_a_prompt_bears_and_none_writes_on_a_terminal() -> None:
    flood = of(*(a_thread(a_comment(f"c{n}", text="x\x1b[2J" * 1000)) for n in range(50)))
    assert len(flood.text) < TEXT_MOST + 100 and "\x1b" not in flood.text
    assert flood.summary.endswith(" …") and len(flood.ids) == 50
