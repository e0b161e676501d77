"""The whole program against a GitHub of our own: real commands, real `gh`, real git; agents are shell one-liners."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import strangers
from github import GitHub, faults, merging
from waiting import ended, removed, until

pytestmark = pytest.mark.xdist_group("github")
NAME = "acme/app"
OTHER_GH = shutil.which("gh", path="/usr/local/bin:/usr/bin")


class Place(strangers.Place):
    """A stranger's clone of a repository on GitHub."""

    def __init__(self, folder: Path, hub: GitHub) -> None:
        super().__init__(folder)
        self.hub, home = hub, folder / "home"
        self.app = hub.repository(NAME, files={"README": "hello\n"})
        self.app.on_head = lambda head: self.app.check(head, "ci", "success")
        home.mkdir()
        (home / ".gitconfig").write_text(f'[core]\n\tsshCommand = "{hub.env["GIT_SSH_COMMAND"]}"\n')
        del self.env["GIT_CONFIG_GLOBAL"]
        path = f"{Path(sys.executable).parent}:{self.env['PATH']}"
        self.env |= {**hub.env, "HOME": str(home), "PATH": path}
        self.git("remote", "add", "origin", f"git@github.com:{NAME}.git")
        self.git("fetch", "--quiet", "origin")
        self.git("reset", "--quiet", "--hard", "origin/main")
        self.git("branch", "--quiet", "--set-upstream-to=origin/main")

    def three(self, **policy: object) -> Path:
        """A manifest of three tasks, the last after the first two."""
        tasks = [
            {"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b"},
            {"key": "c", "title": "Do c", "dependsOn": ["a", "b"]},
        ]  # fmt: skip
        return self.manifest(tasks=tasks, mergePolicy={"requiredChecks": ["ci"], **policy})

    def all_done(self, *titles: str, merges: bool = True) -> None:
        """Everything is merged there, closed here, and cleared up in both places; the base is green and followed."""
        tasks = self.tasks()
        assert {title: tasks[title]["status"] for title in titles} == dict.fromkeys(titles, "closed")
        pulls = [self.app.pull(n) for n in range(1, len(titles) + 1)]
        assert [pull.state for pull in pulls] == ["MERGED"] * len(titles)
        subjects = self.app.bare.git("log", "--first-parent", "--format=%s", "main").splitlines()
        assert len(subjects) == len(titles) + 1
        if merges:
            assert sorted(subject.rpartition(" (#")[0] for subject in subjects[:-1]) == sorted(titles)
        assert set(self.app.bare.heads()) == {"main"}
        assert self.git("rev-parse", "main").strip() == self.app.head("main")
        assert self.leftovers() == []
        assert not [line for line in self.git("status", "--porcelain").splitlines() if ".beads/" not in line]
        assert self.hub.changes().count("POST /repos/acme/app/pulls") == len(titles)
        assert len(self.app.orders) == (len(titles) if merges else 0)
        assert not [label for label in self.hub.changes() if label.endswith("/merge")]


def killed_again_and_again(place: Place) -> None:
    """A watcher, killed in the middle of what GitHub is asked for, each time a little further on."""
    asked = len(place.hub.requests)
    for more in (2, 5, 4, 6, 5, 7, 3, 4):
        watcher = place.start("watch", "--until-done")
        asked += more
        end = time.monotonic() + 20
        while len(place.hub.requests) < asked and watcher.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        watcher.kill()
        watcher.communicate()
        asked = len(place.hub.requests)


@contextmanager
def cloned() -> Iterator[Place]:
    """A stranger's clone, in a folder that is short enough for a socket, and gone at the end."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="gh-"))
    try:
        with GitHub() as hub:
            yield Place(folder, hub)
    finally:
        removed(folder)


@pytest.fixture
def place() -> Iterator[Place]:
    with cloned() as made:
        yield made


def test_a_manifest_goes_in_and_merged_pull_requests_come_out(place: Place) -> None:
    manifest = place.three()
    before = len(place.hub.changes())
    planned = place.json("diff", "-f", str(manifest), code=1)
    assert [action["action"] for action in planned["epics"][0]["actions"]] == ["CreateTask"] * 4
    assert len(place.hub.changes()) == before

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    place.all_done("Do a", "Do b", "Do c")
    assert place.json("diff")["epics"][0]["converged"] is True
    forge = place.json("status")["forge"]
    assert forge["repository"] == NAME and forge["pointsLeft"] + forge["pointsThisHour"] == forge["pointsPerHour"]
    said = place.reconcile("doctor", code=None)
    assert f"github ({NAME})" in said and "main takes merge, rebase, squash" in said, said


def test_where_the_base_may_be_pushed_what_was_tested_lands_in_one_move_and_github_calls_it_merged(
    place: Place,
) -> None:
    tasks = [{"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b"}]
    policy = {"checks": ["test -f README"], "method": "merge", "requiredChecks": []}
    place.reconcile("watch", "-f", str(place.manifest(tasks=tasks, mergePolicy=policy)), "--until-done")

    place.all_done("Do a", "Do b", merges=False)
    assert place.json("diff")["epics"][0]["converged"] is True


def test_where_the_base_has_a_merge_queue_it_is_used_and_followed(place: Place) -> None:
    place.app.protect("main", queue=True)
    place.app.queue_merges = True

    place.reconcile("watch", "-f", str(place.three()), "--until-done")

    place.all_done("Do a", "Do b", "Do c", merges=False)


def test_what_another_clone_has_stopped_lands_only_once_a_person_lets_it_go_on(place: Place) -> None:
    tip = place.app.head("main")
    place.app.status(tip, "reconcile/freeze", "failure", description="#7 landed with another tree")
    manifest = str(place.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"requiredChecks": ["ci"]}))

    place.reconcile("apply", "-f", manifest, "--wait", code=3)

    assert place.app.head("main") == tip
    (task,) = place.json("status")["epics"][0]["tasks"]
    assert task["waiting"]["reason"] == "BaseFrozen"
    assert "another clone reports: #7 landed with another tree" in task["waiting"]["message"]
    assert "main goes on" in place.reconcile("unfreeze")
    assert place.app.statuses[-1].context == "reconcile/freeze" and place.app.statuses[-1].state == "SUCCESS"
    assert "no queue pauses" in place.reconcile("unfreeze")

    place.reconcile("watch", "--until-done")
    place.all_done("Do a")


@pytest.mark.slow
def test_a_watch_goes_on_as_soon_as_a_person_lets_its_base_go_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    merge = merging.merge

    def raced(*args: object, **fields: object) -> str:
        monkeypatch.undo()
        place.hub.commit(NAME, "main", {"meanwhile": "1\n"})
        return merge(*args, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr(merging, "merge", raced)
    tasks = [{"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b"}]
    path = place.manifest(tasks=tasks, mergePolicy={"requiredChecks": ["ci"], "method": "squash"})
    watch = place.start("watch", "-f", str(path), "--interval", "5m")
    until(lambda: "BaseFrozen" in place.reconcile("status"), 60, by=watch)

    place.reconcile("unfreeze")

    until(lambda: {pull.state for pull in place.app.pulls.values()} == {"MERGED"}, 30, by=watch)
    watch.terminate()
    ended(watch)


@pytest.mark.slow
def test_a_watcher_that_is_killed_again_and_again_pushes_everything_once(place: Place) -> None:
    policy = {"checks": ["test -f README"], "method": "merge", "requiredChecks": []}
    place.reconcile("apply", "-f", str(place.three(**policy)))
    place.hub.lose_push(NAME)
    killed_again_and_again(place)

    place.reconcile("watch", "--until-done")

    place.all_done("Do a", "Do b", "Do c", merges=False)


@pytest.mark.slow
def test_a_watcher_that_is_killed_again_and_again_uses_the_queue_once(place: Place) -> None:
    place.app.protect("main", queue=True)
    place.app.queue_merges = True
    place.reconcile("apply", "-f", str(place.three()))
    place.hub.fault(faults.lost(502), on="enqueue")
    killed_again_and_again(place)

    place.reconcile("watch", "--until-done")

    place.all_done("Do a", "Do b", "Do c", merges=False)
    assert not place.app.pull(1).removals


@pytest.mark.slow
@pytest.mark.skipif(not OTHER_GH, reason="there is no other gh on this machine")
def test_the_gh_of_the_machine_does_as_well_as_the_newest(place: Place) -> None:
    place.env["PATH"] = f"{Path(str(OTHER_GH)).parent}:{place.env['PATH']}"

    place.reconcile("watch", "-f", str(place.three()), "--until-done")

    place.all_done("Do a", "Do b", "Do c")


@pytest.mark.slow
def test_a_watcher_that_is_killed_again_and_again_merges_everything_once(place: Place) -> None:
    place.reconcile("apply", "-f", str(place.three()))
    place.hub.fault(faults.lost(502), on="PUT .*/merge")
    killed_again_and_again(place)

    # What was asked for as it was killed is looked for until GitHub can't be running on it any more.
    place.reconcile("watch", "--until-done")

    place.all_done("Do a", "Do b", "Do c")


@pytest.mark.slow
def test_red_checks_on_github_bring_the_agent_back_with_their_names(place: Place) -> None:
    place.app.on_head = lambda head: place.app.check(
        head, "ci", "success" if "fixed" in place.app.bare.git("ls-tree", "--name-only", head) else "failure"
    )
    place.app.on_rerun = lambda run: place.app.check(run.commit, "ci", "failure")
    agent = "cp $RECONCILE_PROMPT ../told.$RECONCILE_ATTEMPT; echo x > $([ $RECONCILE_ATTEMPT = 1 ] && echo try || echo fixed)"
    argv = ["sh", "-c", f"{agent}; git add . && git commit -qm work"]
    policy = {"requiredChecks": ["ci"]}
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": argv}, mergePolicy=policy)

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    place.all_done("Do a")
    told = next(place.root.parent.rglob("told.2")).read_text()
    assert "checks of the forge failed: ci (https://" in told
    assert "also when it was run again" in told


@pytest.mark.slow
def test_every_tree_that_lands_is_one_that_github_found_green(place: Place) -> None:
    """The second task is green by itself and red with the first in: no single head says so."""
    green: set[str] = set()

    def run_ci(head: str) -> None:
        files = set(place.app.bare.git("ls-tree", "--name-only", head).split())
        bad = {"a-1", "b-1"} <= files and "fixed" not in files
        place.app.check(head, "ci", "failure" if bad else "success")
        if not bad:
            green.add(place.app.bare.commit(head).tree)

    place.app.on_head = run_ci
    place.app.on_rerun = lambda run: place.app.check(run.commit, "ci", "failure")
    agent = "case $(cat $RECONCILE_PROMPT) in *'Do a'*) f=a-1;; *) f=b-1;; esac; [ $RECONCILE_ATTEMPT = 1 ] || f=fixed"
    argv = ["sh", "-c", f"{agent}; echo x > $f; git add . && git commit -qm work"]
    tasks = [{"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b"}]
    policy = {"requiredChecks": ["ci"], "checks": []}
    manifest = place.manifest(tasks=tasks, agent={"argv": argv}, mergePolicy=policy)

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    place.all_done("Do a", "Do b")
    landed = place.app.bare.git("log", "--first-parent", "--format=%T", "main").split()[:-1]
    assert set(landed) <= green


@pytest.mark.slow
def test_a_flaky_check_costs_a_second_run_and_no_second_agent(place: Place) -> None:
    place.app.on_head = lambda head: place.app.check(head, "ci", "failure")
    place.app.on_rerun = lambda run: place.app.check(run.commit, "ci", "success")

    place.reconcile("watch", "-f", str(place.three()), "--until-done")

    place.all_done("Do a", "Do b", "Do c")
    assert place.reconcile("get", "events", "-o", "json").count("flaky: ci passed only when it was run again") == 3
    assert len([label for label in place.hub.changes() if "rerun" in label]) == 3


@pytest.mark.slow
def test_what_agents_commit_in_the_trackers_folder_does_not_land(place: Place) -> None:
    """A hook of `bd` adds its export to every commit, wherever that is made."""
    agent = "mkdir -p .beads && echo junk > .beads/issues.jsonl && echo x > $RECONCILE_TASK && git add -f ."
    argv = ["sh", "-c", f"{agent} && git commit -qm work"]
    tasks = [{"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b"}]
    manifest = place.manifest(tasks=tasks, agent={"argv": argv}, mergePolicy={"requiredChecks": ["ci"]})

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    place.all_done("Do a", "Do b")
    assert not [path for path in place.app.bare.git("ls-tree", "-r", "--name-only", "main").split() if "beads" in path]


@pytest.mark.slow
def test_while_github_is_silent_agents_work_and_nothing_is_lost(place: Place) -> None:
    place.reconcile("apply", "-f", str(place.three()))
    place.hub.fault(faults.server_error(502), on="graphql", times=4)

    place.reconcile("watch", "--until-done")

    place.all_done("Do a", "Do b", "Do c")


def test_nobody_logged_in_holds_the_manifest_and_says_what_to_do(place: Place) -> None:
    del place.env["GH_TOKEN"]

    place.reconcile("watch", "-f", str(place.three()), "--until-done", code=3)

    (epic,) = place.json("status")["epics"]
    degraded = next(each for each in epic["conditions"] if each["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "ForgeUnavailable")
    assert "gh auth login" in degraded["message"]
    assert "gh auth login" in place.reconcile("doctor", code=1)
    assert place.app.bare.heads().keys() == {"main"} and place.leftovers() == []


@pytest.mark.parametrize(
    ("what", "said"),
    [
        pytest.param("READ", "may not push", marks=pytest.mark.slow),
        pytest.param("archived", "archived", marks=pytest.mark.slow),
        pytest.param("squash", "'squash'", marks=pytest.mark.slow),
        ("base", "no branch main: is it trunk now?"),
    ],
)
def test_what_the_repository_forbids_is_one_condition_and_no_failure_of_tasks(
    place: Place, what: str, said: str
) -> None:
    match what:
        case "READ":
            place.app.permission = "READ"
        case "archived":
            place.app.archived = True
        case "squash":
            place.app.allow_squash = False
        case "base":
            place.app.rename_branch("main", "trunk")

    place.reconcile("watch", "-f", str(place.three()), "--until-done", code=3)

    (epic,) = place.json("status")["epics"]
    assert said in next(each["message"] for each in epic["conditions"] if each["type"] == "Degraded")
    assert {task["waiting"]["reason"] for task in epic["tasks"]} <= {"ForgeUnavailable"}
    assert said in place.reconcile("doctor", code=1)


def test_a_repository_that_is_renamed_amid_the_work_is_gone_on_with_and_told(place: Place) -> None:
    place.app.on_head = lambda head: None
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"requiredChecks": ["ci"]})
    watch = place.start("watch", "-f", str(manifest))
    until(lambda: place.app.pulls)
    place.hub.rename(NAME, "acme/shop")
    place.app.check(place.app.pull(1).head, "ci", "success")
    until(lambda: place.tasks()["Do a"]["status"] == "closed", 60)

    until(lambda: "RepositoryRenamed" in str(place.json("status", "--fresh")), 60)
    told = place.json("status", "--fresh")
    degraded = next(each for each in told["epics"][0]["conditions"] if each["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "RepositoryRenamed")
    assert told["forge"]["repository"] == "acme/shop"
    advice = "git remote set-url origin git@github.com:acme/shop.git"
    assert advice in degraded["message"]
    found = [each for each in place.json("doctor", code=None)["checks"] if "is acme/shop now" in each["message"]]
    assert [advice in each["hint"] for each in found] == [True]
    place.git(*advice.split()[1:])
    until(lambda: "RepositoryRenamed" not in str(place.json("status", "--fresh")), 90)
    place.manifest(
        tasks=[{"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b"}], mergePolicy={"requiredChecks": ["ci"]}
    )
    until(lambda: 2 in place.app.pulls, 60)
    place.app.check(place.app.pull(2).head, "ci", "success")
    until(lambda: place.tasks()["Do b"]["status"] == "closed", 90)
    watch.terminate()
    ended(watch)
    merges = ("/pulls/1/merge", "/pulls/1/merge-async")
    assert len([label for label in place.hub.changes() if label.endswith(merges)]) == 1


def test_a_push_that_is_refused_for_a_secret_goes_back_to_its_agent_with_all_that_was_said(place: Place) -> None:
    place.app.bare.note("secret", "AKIA[A-Z0-9]*")
    agent = (
        'case "$RECONCILE_ATTEMPT" in '
        "1) echo AKIAQ3EGRV > keys && git add keys && git commit -qm keys;; "
        '*) cp "$RECONCILE_PROMPT" .git-told; git rm -q --cached keys && rm keys && echo ok > work && git add work '
        "&& git commit -q --amend -m work;; esac"
    )
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        agent={"kind": "command", "argv": ["sh", "-c", agent]},
        mergePolicy={"requiredChecks": ["ci"], "deleteBranch": False},
    )

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    assert place.app.pull(1).state == "MERGED" and place.tasks()["Do a"]["status"] == "closed"
    (prompt,) = place.root.glob(".git/reconcile/runs/work/*/2/prompt*")
    told = prompt.read_text()
    assert (
        "Push cannot contain secrets; Amazon AWS Access Key ID; " in told
        and "path: keys:1" in told
        and "git commit --amend" in told
    )
    pushes = place.json("get", "events")
    assert [e["reason"] for e in pushes if e.get("action") == "RestartAgent"] == ["PushRefused"]


def test_a_login_that_may_not_push_workflows_is_told_what_to_do_and_no_agent_is_sent(place: Place) -> None:
    place.app.bare.note("no-workflows", "")
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        agent={
            "kind": "command",
            "argv": [
                "sh",
                "-c",
                "mkdir -p .github/workflows; echo a > .github/workflows/ci.yml; git add -A; git commit -qm a",
            ],
        },
    )

    place.reconcile("watch", "-f", str(manifest), "--until-done", code=3)

    (task,) = place.json("status")["epics"][0]["tasks"]
    assert "gh auth refresh --scopes workflow" in place.reconcile("describe", task["id"])
    assert place.app.pulls == {} and task["status"] == "blocked"
    assert task["waiting"]["reason"] == "PushRefused"
    (place.app.bare.path / "no-workflows").unlink()
    place.reconcile("retry", task["id"])
    place.reconcile("watch", "--until-done", code=3)  # protected paths need a person
    assert [pull.state for pull in place.app.pulls.values()] == ["OPEN"]
    assert [run["attempt"] for run in place.json("get", "runs") if run["kind"] == "work"] == [1]


@pytest.mark.slow
def test_review_comments_reach_the_agent_once_and_then_wait_for_whoever_made_them(place: Place) -> None:
    agent = (
        'cp "$RECONCILE_PROMPT" "$RECONCILE_TASK.$RECONCILE_ATTEMPT.told" && echo $RECONCILE_ATTEMPT >> work '
        "&& git add work && git commit -qm work"
    )
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        agent={"kind": "command", "argv": ["sh", "-c", agent]},
        mergePolicy={"requiredChecks": ["ci"], "review": "human"},
    )
    watch = place.start("watch", "-f", str(manifest), "--interval", "1s")
    until(lambda: place.app.pulls)
    thread = place.app.discuss(1, "ann", "say why in a comment", path="work", line=1)
    before = place.app.pull(1).head

    def waiting() -> str:
        word = place.json("status")["epics"][0]["tasks"][0]["waiting"]
        return f"{word['reason']}: {word['message']}" if word else ""

    until(lambda: place.app.pull(1).head != before, 120)
    until(lambda: waiting().startswith("AwaitingReview: ") and "work:1 (ann)" in waiting(), 90)
    (prompt,) = place.root.glob(".git/reconcile/runs/work/*/2/prompt*")
    assert "At work:1\nann: say why in a comment" in prompt.read_text()
    thread.resolved = True
    place.app.review(1, "ann", "APPROVED")
    until(lambda: place.app.pull(1).state == "MERGED", 120)
    watch.terminate()
    ended(watch)
    assert [run["attempt"] for run in place.json("get", "runs") if run["kind"] == "work"] == [1, 2]


REVIEWER = """
if grep -q hasty a.py; then
  printf '{"verdict": "request_changes", "summary": "Fixes #1, @ann",
    "comments": [{"path": "a.py", "line": 1, "body": "write mended here"}]}' > "$RECONCILE_VERDICT"
else
  echo '{"verdict": "approve", "summary": "as it should be"}' > "$RECONCILE_VERDICT"
fi
"""


def test_what_a_reviewer_says_stands_at_the_pull_request_and_is_no_persons_word(place: Place) -> None:
    place.app.protect("main", conversations=True)
    agent = """if grep -q 'write mended here' "$RECONCILE_PROMPT"; then echo mended > a.py; else echo hasty > a.py; fi
    git add . && git commit -qm Work"""
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        agent={"argv": ["sh", "-c", agent]},
        reviewer={"argv": ["sh", "-c", REVIEWER]},
        mergePolicy={"requiredChecks": ["ci"], "review": "agent"},
    )

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    place.all_done("Do a")
    pull = place.app.pull(1)
    assert [(each.author, each.state) for each in pull.reviews] == [("robot", "COMMENTED")] * 2
    assert "asks for changes" in pull.reviews[0].body and "Fixes issue #1, (at)ann" in pull.reviews[0].body
    assert "approves this" in pull.reviews[1].body
    (thread,) = pull.threads
    assert (thread.path, thread.line, thread.resolved) == ("a.py", 1, True)
    task = place.tasks()["Do a"]["id"]
    runs = [run["id"].partition("/")[0] for run in place.json("describe", task)["runs"]]
    assert (runs.count("work"), runs.count("review")) == (2, 2)
    assert "PostReview" in place.reconcile("get", "events", task)


def test_a_bot_that_comments_on_every_push_has_its_attempts_and_then_a_person_is_asked(place: Place) -> None:
    place.hub.account("some-bot", kind="Bot")
    agent = (
        "echo $RECONCILE_ATTEMPT >> work && git add work && git commit -qm work && if [ $RECONCILE_ATTEMPT = 2 ]; then "
        'gh api repos/acme/app/issues/1/comments -f "body=I am on it" >/dev/null; fi'
    )
    passed = ["GH_TOKEN", "GH_CONFIG_DIR", "XDG_CACHE_HOME"]
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        agent={"kind": "command", "argv": ["sh", "-c", agent], "passEnv": passed},
        mergePolicy={"requiredChecks": ["ci"], "reviewBots": ["some-bot"]},
    )

    def seen(head: str) -> None:
        if 1 in place.app.pulls:
            place.app.comment(1, "some-bot", f"coverage of {head}: 99%", can_push=False)
            place.app.check(head, "ci", "success")

    place.app.on_head = seen
    watch = place.start("watch", "-f", str(manifest), "--until-done", "--interval", "1s")
    until(lambda: place.app.pulls, by=watch)
    place.app.comment(1, "ann", "and the docs?")
    seen(place.app.pull(1).head)

    _, err = ended(watch)

    assert watch.returncode == 3, err
    (task,) = place.json("status")["epics"][0]["tasks"]
    assert (task["status"], task["waiting"]["reason"]) == ("blocked", "ChangesRequested")
    said = place.reconcile("describe", task["id"])
    assert "a comment by some-bot" in said and "all 3 attempts are used" in said, said
    second, third = (next(place.root.glob(f".git/reconcile/runs/work/*/{n}/prompt*")).read_text() for n in (2, 3))
    assert "some-bot:\ncoverage of" in second and "ann:\nand the docs?" in second
    assert "some-bot:\ncoverage of" in third and "and the docs?" not in third
    assert "I am on it" in [each.body for each in place.app.pull(1).comments] and "I am on it" not in third
    place.reconcile("approve", task["id"])
    place.reconcile("retry", task["id"])
    place.reconcile("watch", "--until-done")
    assert place.app.pull(1).state == "MERGED"
    assert [run["attempt"] for run in place.json("get", "runs") if run["kind"] == "work"] == [1, 2, 3]


def test_a_remote_that_git_rewrites_is_github_and_is_pushed_to(place: Place) -> None:
    place.git("config", "url.git@github.com:.insteadOf", "gh:")
    place.git("remote", "set-url", "origin", f"gh:{NAME}")

    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"requiredChecks": ["ci"]})
    place.reconcile("watch", "-f", str(manifest), "--until-done")

    place.all_done("Do a")


@pytest.mark.slow
def test_pull_requests_of_github_are_listed_and_shown_as_local_ones_are(place: Place) -> None:
    place.app.on_head = None
    place.reconcile("apply", "-f", str(place.three()))
    until(lambda: len(list(place.root.glob(".git/reconcile/runs/work/*/1/exit.json"))) == 2)
    place.reconcile("apply", "-f", str(place.three()))

    listed = place.json("pr", "list")
    shown = place.json("pr", "show", "1")
    diff = place.reconcile("pr", "diff", "1")

    assert [(row["number"], row["checks"], row["url"]) for row in listed] == [
        (n, "pending", f"https://github.com/acme/app/pull/{n}") for n in (1, 2)
    ]
    assert shown["base"] == "main" and len(shown["commits"]) == 1
    assert diff.startswith("diff --git a/")
    waiting = [task["waiting"]["reason"] for task in place.json("status")["epics"][0]["tasks"]]
    assert sorted(waiting) == ["Blocked", "ChecksPending", "ChecksPending"]
    place.reconcile("approve", listed[0]["task"])
    assert place.json("pr", "show", "1")["review"] == "approved"


@pytest.mark.slow
def test_strict_rules_are_kept_and_both_land(place: Place) -> None:
    place.app.protect("main", required=("ci",), strict=True)
    tasks = [{"key": key, "title": f"Do {key}"} for key in "ab"]

    place.reconcile("watch", "-f", str(place.manifest(tasks=tasks)), "--until-done")

    place.all_done("Do a", "Do b")
    assert len([label for label in place.hub.changes() if label.endswith("/update-branch")]) == 1


@pytest.mark.slow
def test_what_must_be_up_to_date_is_reviewed_once_however_often_it_is_updated(place: Place) -> None:
    place.app.protect("main", required=("ci",), strict=True)
    agent = 'echo "$RECONCILE_TASK" > "$RECONCILE_TASK.py" && git add . && git commit -qm Work'
    manifest = place.manifest(
        tasks=[{"key": key, "title": f"Do {key}"} for key in "abc"],
        agent={"argv": ["sh", "-c", agent]},
        reviewer={"argv": ["sh", "-c", """echo '{"verdict": "approve", "summary": "ok"}' > "$RECONCILE_VERDICT" """]},
        mergePolicy={"review": "agent", "method": "squash"},
    )

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    place.all_done("Do a", "Do b", "Do c")
    assert any("/update-branch" in label for label in place.hub.changes())
    assert [len(place.app.pull(number).reviews) for number in (1, 2, 3)] == [1, 1, 1]
    runs = [run["kind"] for run in place.json("get", "runs")]
    assert runs.count("review") == 3


@pytest.mark.slow
def test_what_people_do_on_github_is_accepted(place: Place) -> None:
    place.app.on_head = None
    tasks = [{"key": key, "title": f"Do {key}"} for key in "abc"]
    manifest = place.manifest(
        tasks=tasks, mergePolicy={"requiredChecks": ["ci"], "checks": []}, prune={"branches": True}
    )
    watcher = place.start("watch", "-f", str(manifest), "--until-done", "--interval", "2s")
    until(lambda: len(place.app.bare.heads()) == 4 and len(place.tasks()) == 4, by=watcher)
    asked = "POST /repos/acme/app/pulls"
    until(lambda: [label for label in place.hub.changes() if label.startswith(asked)][2:], by=watcher)
    with place.hub.lock:
        numbers = {place.app.pull(n).title: n for n in (1, 2, 3)}
        merging.merge(place.app, numbers["Do a"], "REBASE", by="alice", expected=None)
        place.app.close(numbers["Do b"])
    theirs = place.hub.commit(NAME, place.app.pull(numbers["Do c"]).branch, {"theirs": "1\n"})
    place.app.check(theirs, "ci", "success")
    place.app.on_head = lambda head: place.app.check(head, "ci", "success")  # it gets the base before it lands

    ended(watcher)

    tasks_now = place.tasks()
    assert watcher.returncode == 3
    assert (tasks_now["Do a"]["status"], tasks_now["Do c"]["status"]) == ("closed", "closed")
    assert tasks_now["Do b"]["status"] == "blocked" and "needs-human" in tasks_now["Do b"]["labels"]
    assert "theirs" in place.app.bare.git("ls-tree", "--name-only", "main")
    assert place.app.pull(numbers["Do c"]).state == "MERGED"
    assert place.git("rev-parse", "main").strip() == place.app.head("main")


@pytest.mark.slow
def test_merging_that_is_left_to_people_waits_for_them_with_the_address(place: Place) -> None:
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"mode": "manual"})

    place.reconcile("watch", "-f", str(manifest), "--until-done", code=3)
    (task,) = place.json("status")["epics"][0]["tasks"]
    assert (
        task["waiting"]["reason"] == "AwaitingMerge"
        and "https://github.com/acme/app/pull/1" in task["waiting"]["message"]
    )
    place.reconcile("merge")

    place.reconcile("watch", "--until-done")
    place.all_done("Do a")


@pytest.mark.parametrize("ran", [True, False], ids=["on the base", "nowhere yet"])
def test_a_login_that_may_not_read_checks_is_told_before_anybody_works_for_nothing(place: Place, ran: bool) -> None:
    place.app.hidden = frozenset({"checks", "statuses"})
    if ran:
        place.app.check(place.app.head("main"), "ci", "success")
    manifest = place.three()

    planned = place.json("diff", "-f", str(manifest), code=None)["epics"][0]
    place.reconcile("watch", "-f", str(manifest), "--until-done", code=3)

    (epic,) = place.json("status")["epics"]
    degraded = next(each for each in epic["conditions"] if each["type"] == "Degraded")
    for said in (planned["held"]["message"], degraded["message"], place.reconcile("doctor", code=1)):
        assert "'Checks: read'" in said and "'Commit statuses: read'" in said, said
    assert degraded["reason"] == "ForgeUnavailable"
    assert place.json("get", "runs") == [] and place.app.bare.heads().keys() == {"main"}

    place.reconcile("apply", "-f", str(place.three(requiredChecks=[], checks=["test -f README"])))
    place.reconcile("watch", "--until-done")
    place.all_done("Do a", "Do b", "Do c")
