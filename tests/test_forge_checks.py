"""What a forge's checks come to: whether time alone may change it, and what nothing but a person can."""

from __future__ import annotations

from datetime import timedelta

import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st
from worlds import NOW, ago

from reconciler.model.checks import Check
from reconciler.model.desired import MergePolicy, NoChecks
from reconciler.model.observed import CheckResult, ForgeCheck, Rerun, Rules
from reconciler.planning.forge_checks import ForgeVerdict, judged, outages

POLICY = MergePolicy()
RULES = Rules(forge="GitHub")
CHECKS = st.lists(
    st.builds(ForgeCheck, name=st.sampled_from("abc"), result=st.sampled_from(CheckResult)), unique_by=lambda c: c.name
)


def said(
    *checks: tuple[str, str],
    age: float = 60,
    settled: float | None = None,
    policy: MergePolicy = POLICY,
    rules: Rules | None = RULES,
) -> ForgeVerdict:
    found = tuple(ForgeCheck(name=name, result=CheckResult(result)) for name, result in checks)
    ended = None if settled is None else ago(settled)
    return judged(worlds.a_pull(checks=found, seen_at=ago(age), settled_at=ended), rules, policy, NOW)


def test_a_forge_that_runs_no_checks_says_nothing_against_it() -> None:
    assert judged(worlds.a_pull(), None, POLICY, NOW).result is CheckResult.PASSED


@pytest.mark.parametrize("age", [0, 29, 599])
def test_what_may_still_come_is_looked_for_again_soon(age: float) -> None:
    found = said(age=age, policy=MergePolicy(required_checks=("a",)))
    assert found.result is CheckResult.PENDING and found.until and found.until - NOW <= timedelta(seconds=15)


@pytest.mark.parametrize(("age", "settled"), [(0, 0), (29, 25), (600, 5)])
def test_a_first_green_check_is_not_all_of_them_where_nobody_says_which_there_are(age: float, settled: float) -> None:
    """A bot that reads the text of a pull request is done long before the first build has begun."""
    found = said(("cla", "passed"), age=age, settled=settled)
    assert found.result is CheckResult.PENDING and found.until and found.until - NOW <= timedelta(seconds=15)
    assert said(("cla", "failed"), age=age, settled=settled).result is CheckResult.FAILED
    assert said(("cla", "passed"), age=age, policy=MergePolicy(required_checks=("cla",))).result is CheckResult.PASSED


@pytest.mark.parametrize("settled", [None, 11, -3600])
def test_green_that_has_stayed_all_there_is_for_a_while_is_green(settled: float | None) -> None:
    assert said(("ci", "passed"), age=31, settled=settled).result is CheckResult.PASSED


def test_what_never_came_is_named_to_a_person() -> None:
    found = said(("b", "passed"), age=601, policy=MergePolicy(required_checks=("a", "b")))
    assert (found.result, found.until) == (CheckResult.VOID, None)
    assert ": a (" in found.message


def test_a_head_of_the_future_is_one_of_now() -> None:
    assert said(age=-86400, policy=MergePolicy(required_checks=("a",))).result is CheckResult.PENDING


def test_red_is_red_though_another_has_not_come_yet() -> None:
    assert said(("a", "failed"), policy=MergePolicy(required_checks=("a", "b"))).result is CheckResult.FAILED


def test_checks_of_our_own_are_checks_where_a_forge_has_none() -> None:
    assert said(age=60, policy=MergePolicy(checks=(Check("just check"),))).result is CheckResult.PASSED
    assert said(age=60, policy=MergePolicy(no_checks=NoChecks.ALLOW)).result is CheckResult.PASSED
    assert said(age=60).result is CheckResult.VOID


def test_a_required_check_of_one_app_is_not_there_while_only_another_reports_one_of_its_name() -> None:
    asked = Rules(forge="GitHub", required=("ci",), apps={"ci": frozenset({7})})

    def by(*apps: int | None, policy: MergePolicy = POLICY) -> CheckResult:
        checks = tuple(ForgeCheck(name="ci", result=CheckResult.PASSED, app=app) for app in apps)
        return judged(worlds.a_pull(checks=checks, seen_at=ago(60)), asked, policy, NOW).result

    assert by(8) is CheckResult.PENDING
    assert by(8, 7) is by(7) is by(None) is CheckResult.PASSED
    assert by(8, policy=MergePolicy(required_checks=("ci",))) is CheckResult.PASSED  # a manifest names no apps


def unread(policy: MergePolicy, rules: Rules = RULES) -> CheckResult:
    checks = (ForgeCheck(name="ci", result=CheckResult.PASSED),)
    return judged(worlds.a_pull(checks=checks, unseen="not yours", seen_at=ago(600)), rules, policy, NOW).result


def test_checks_that_can_not_be_read_are_green_for_nobody_who_asks_for_them() -> None:
    own = MergePolicy(checks=(Check("just check"),))
    assert unread(own) is CheckResult.PASSED
    assert unread(POLICY) is CheckResult.VOID
    assert unread(MergePolicy(no_checks=NoChecks.ALLOW)) is CheckResult.VOID
    assert unread(MergePolicy(checks=(Check("just check"),), required_checks=("ci",))) is CheckResult.VOID
    assert unread(own, Rules(forge="GitHub", required=("ci",))) is CheckResult.VOID


@pytest.mark.parametrize("policy", [POLICY, MergePolicy(required_checks=("a",))], ids=["none", "required"])
def test_a_login_whose_pushes_start_no_checks_is_named_where_none_came(policy: MergePolicy) -> None:
    muted = Rules(forge="GitHub", mute="this login starts no workflows")
    found = said(age=601, policy=policy, rules=muted)
    assert found.result is CheckResult.VOID and "starts no workflows" in found.message


def test_what_is_red_on_the_base_too_is_nobodys_fault_but_what_is_red_beside_it_is() -> None:
    rules = Rules(forge="GitHub", red=frozenset("a"))
    assert said(("a", "failed"), rules=rules).result is CheckResult.VOID
    assert said(("a", "failed"), ("b", "failed"), rules=rules).result is CheckResult.FAILED
    assert said(("a", "passed"), rules=rules).result is CheckResult.PASSED


def test_what_was_red_beneath_it_and_no_longer_is_on_the_base_is_inherited() -> None:
    def of(*failed: str, red: str = "") -> ForgeVerdict:
        checks = tuple(ForgeCheck(name=name, result=CheckResult.FAILED, number=1, workflow=70) for name in failed)
        pull = worlds.a_pull(checks=checks, seen_at=ago(60), red_beneath=frozenset("a"))
        return judged(pull, Rules(forge="GitHub", red=frozenset(red)), POLICY, NOW)

    assert (of("a").result, of("a").inherited, of("a").again) == (CheckResult.VOID, True, ())
    assert of("a", "b", red="b").inherited
    assert not of("a", red="a").inherited  # the base is to be fixed first
    assert not of("a", "b").inherited


# --- chance, and outages --------------------------------------------------------------------------------------


def ran(*results: str, rerun: Rerun | None = None, workflow: int | None = 70, settled: float = 60) -> ForgeVerdict:
    """Checks 1, 2, … of one workflow with these results."""
    checks = tuple(
        ForgeCheck(name=f"c{n}", result=CheckResult(result), number=n, workflow=workflow)
        for n, result in enumerate(results, start=1)
    )
    pull = worlds.a_pull(checks=checks, seen_at=ago(60), settled_at=ago(settled), rerun=rerun)
    return judged(pull, RULES, POLICY, NOW)


@pytest.mark.parametrize("results", [("failed",), ("void",), ("passed", "failed"), ("failed", "void")])
def test_what_is_not_green_runs_once_more_before_anybody_is_blamed(results: tuple[str, ...]) -> None:
    found = ran(*results)
    assert (found.result, found.again) == (CheckResult.PENDING, (70,))


def test_what_is_green_or_runs_is_not_run_again() -> None:
    assert ran("passed").again == ran("pending").again == ran("pending", "passed").again == ()


def test_nothing_runs_again_before_the_rest_of_its_workflow_is_over() -> None:
    """GitHub refuses it, and so would take the second run away."""
    found = ran("failed", "pending")
    assert (found.result, found.again) == (CheckResult.PENDING, ())
    assert found.until and "c2" in found.message


def test_a_workflow_that_is_never_over_hides_what_failed_in_it_for_an_hour_at_most() -> None:
    assert ran("failed", "pending", settled=3601).again == (70,)  # and once that is refused, it is red
    refused = Rerun(at=ago(5))
    assert ran("failed", "pending", settled=3601, rerun=refused).result is CheckResult.FAILED


def test_what_only_another_program_could_run_again_counts_at_once() -> None:
    assert ran("failed", workflow=None).result is CheckResult.FAILED
    assert ran("void", workflow=None).result is CheckResult.VOID


@pytest.mark.parametrize(("asked", "waits"), [(0, True), (119, True), (120, False), (-60, False)])
def test_a_second_run_is_given_a_while_to_begin(asked: float, waits: bool) -> None:
    found = ran("failed", rerun=Rerun(at=ago(asked), after=frozenset({1})))
    assert (found.again == ()) == waits
    assert found.result is CheckResult.PENDING


def test_a_request_that_goes_astray_is_made_three_times_and_then_the_first_run_counts() -> None:
    astray = [Rerun(at=ago(600), after=frozenset({1}), times=times) for times in (1, 2, 3)]
    assert [ran("failed", rerun=rerun).again for rerun in astray] == [(70,), (70,), ()]
    assert ran("failed", rerun=astray[-1]).result is CheckResult.FAILED


@pytest.mark.parametrize(("result", "means"), [("failed", "failed"), ("passed", "passed"), ("void", "void")])
def test_the_second_run_counts_whatever_it_says(result: str, means: str) -> None:
    found = ran(result, rerun=Rerun(at=ago(5), after=frozenset({99}), names=("c1",)))
    assert (found.result, found.again) == (CheckResult(means), ())


def test_what_is_red_on_the_base_too_is_not_run_again() -> None:
    pull = worlds.a_pull(
        checks=(ForgeCheck(name="a", result=CheckResult.FAILED, number=1, workflow=70),), seen_at=ago(60)
    )
    assert judged(pull, Rules(forge="GitHub", red=frozenset("a")), POLICY, NOW).again == ()


def ended(*ends: tuple[float, str]) -> frozenset[str]:
    """What is out of order where pull requests had the check `ci` end so many seconds ago, with these results."""
    pulls = [
        worlds.a_pull(
            f"x-{n}", n + 1, checks=(ForgeCheck(name="ci", result=CheckResult(result)),), settled_at=ago(seconds)
        )
        for n, (seconds, result) in enumerate(ends)
    ]
    return outages(pulls, NOW)


def test_a_check_that_fails_on_three_and_passes_on_none_is_out_of_order() -> None:
    assert ended((300, "failed"), (200, "failed"), (100, "failed")) == {"ci"}
    assert ended((300, "failed"), (200, "failed")) == frozenset()


def test_one_that_passed_since_ends_an_outage_and_one_from_before_does_not() -> None:
    red = [(300, "failed"), (200, "failed"), (100, "failed")]
    assert ended(*red, (50, "passed")) == frozenset()
    assert ended(*red, (250, "passed")) == frozenset()
    assert ended(*red, (400, "passed")) == {"ci"}


def test_failures_of_long_ago_are_no_outage_of_today() -> None:
    assert ended((1801, "failed"), (200, "failed"), (100, "failed")) == frozenset()


def test_a_clock_that_was_set_back_makes_no_outage_of_what_failed_once() -> None:
    assert ended((-4000, "failed"), (-4100, "failed"), (-4200, "failed")) == frozenset()
    assert ended((-5, "failed"), (200, "failed"), (100, "failed")) == {"ci"}


def test_in_an_outage_nobody_is_blamed_and_what_is_red_beside_it_is() -> None:
    def of(*names: str) -> ForgeVerdict:
        checks = tuple(ForgeCheck(name=name, result=CheckResult.FAILED, number=1, workflow=70) for name in names)
        return judged(worlds.a_pull(checks=checks, seen_at=ago(60)), RULES, POLICY, NOW, {"ci"})

    assert (of("ci").result, of("ci").again) == (CheckResult.VOID, ())
    assert of("ci").until is not None
    assert of("ci", "lint").again == (70,)


@given(CHECKS, st.sets(st.sampled_from("abc")))
def test_asking_for_fewer_checks_never_makes_it_worse_than_asking_for_all(
    checks: list[ForgeCheck], some: set[str]
) -> None:
    def of(names: set[str]) -> CheckResult:
        pull = worlds.a_pull(checks=tuple(checks), seen_at=ago(60))
        return judged(pull, RULES, MergePolicy(required_checks=tuple(sorted(names))), NOW).result

    if some and of(set("abc")) is CheckResult.PASSED:
        assert of(some) is CheckResult.PASSED


@given(CHECKS)
def test_only_what_is_all_green_is_green(checks: list[ForgeCheck]) -> None:
    pull = worlds.a_pull(checks=tuple(checks), seen_at=ago(60))
    green = judged(pull, RULES, POLICY, NOW).result is CheckResult.PASSED
    assert green == (bool(checks) and all(check.result is CheckResult.PASSED for check in checks))


@pytest.mark.parametrize(
    ("names", "there", "result"),
    [
        (("build",), {}, CheckResult.PASSED),  # a head need not have what is asked of what is staged
        (("build",), {"build": "failed"}, CheckResult.FAILED),
        (("build",), {"lint": "failed"}, CheckResult.PASSED),  # nobody asks for that one
        ((), {"lint": "failed"}, CheckResult.FAILED),
        ((), {}, CheckResult.PASSED),
    ],
)
def test_where_the_forge_tests_what_is_staged_a_head_must_only_not_be_red(
    names: tuple[str, ...], there: dict[str, str], result: CheckResult
) -> None:
    checks = tuple(ForgeCheck(name=name, result=CheckResult(said), number=1) for name, said in there.items())
    pull = worlds.a_pull(checks=checks, seen_at=ago(60))
    policy = MergePolicy(staging=True, required_checks=names)
    assert judged(pull, RULES, policy, NOW).result is result


def test_what_rules_require_of_a_head_it_must_have_whatever_is_staged() -> None:
    rules = Rules(forge="GitHub", required=("ci",))
    pull = worlds.a_pull(checks=(), seen_at=ago(60))
    assert judged(pull, rules, MergePolicy(staging=True), NOW).result is CheckResult.PENDING
