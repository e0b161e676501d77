"""Checks that can't be asked, and a base that is red by itself: nobody's work is blamed, and nothing is paid for twice."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from strangers import Place, merged
from terminals import Terminal
from waiting import ended

TASKS = [{"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b"}]


def attempts(place: Place) -> list[int]:
    tasks = place.json("status")["epics"][0]["tasks"]
    return [len([r for r in place.json("describe", task["id"])["runs"] if r["attempt"]]) for task in tasks]


def degraded(place: Place) -> dict:
    conditions = place.json("status")["epics"][0]["conditions"]
    return next(condition for condition in conditions if condition["type"] == "Degraded")


def test_a_check_that_is_misspelt_costs_no_attempt_and_lands_nothing_until_it_is_mended(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = str(place.manifest(tasks=TASKS, mergePolicy={"checks": ["pytset -q"]}))
    assert "pytset is not on their PATH" in place.reconcile("diff", "-f", manifest, code=1)

    place.reconcile("apply", "-f", manifest, "--wait", code=3)

    assert {task["status"] for task in place.tasks().values()} == {"in_progress", "open"}
    waiting = {task["waiting"]["reason"] for task in place.json("status")["epics"][0]["tasks"]}
    assert (waiting, attempts(place), place.subjects()) == ({"CheckBroken"}, [1, 1], ["Begin"])
    assert "checks" in place.reconcile("doctor", code=1)
    assert degraded(place)["reason"] == "CheckBroken"
    assert "pytset is not on their PATH (exit status 127" in degraded(place)["message"]
    assert "pytset is not on their PATH" in place.reconcile("doctor", code=1)
    said = place.reconcile("status")
    assert said.count("pytset is not on their PATH") == 1, "it is said once, not of every task"
    assert "red" not in said and "checks failed" not in said, "nobody knows what they would find"

    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS)), "--wait")

    merged(place, "Do a", "Do b")
    assert attempts(place) == [1, 1] and degraded(place)["status"] == "False"


def test_a_program_that_is_installed_meanwhile_judges_after_a_retry_what_was_not_judged(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.env["PATH"] = f"{tmp_path / 'bin'}:{place.env['PATH']}"
    manifest = str(place.manifest(tasks=TASKS, mergePolicy={"checks": ["look-closely ."]}))
    place.reconcile("apply", "-f", manifest, "--wait", code=3)

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/look-closely").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin/look-closely").chmod(0o755)
    task = place.json("status")["epics"][0]["tasks"][-1]
    place.reconcile("retry", task["id"])
    place.reconcile("watch", "--until-done")

    merged(place, "Do a", "Do b")
    assert attempts(place) == [1, 1]


def test_a_red_base_holds_only_what_does_not_pass_and_is_mended_by_what_does(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.root / "RED").write_text("the build is broken\n")
    place.git("add", "RED")
    place.git("commit", "--quiet", "--message=Begin")
    fix = 'case "$(cat "$RECONCILE_PROMPT")" in *"Fix it"*) git rm -q RED ;; esac; echo x > "$RECONCILE_TASK"; '
    agent = {"argv": ["sh", "-c", f"{fix} git add . && git commit -qm done"]}
    tasks = [{"key": "a", "title": "Do a", "priority": 0}, {"key": "b", "title": "Fix it", "priority": 4}]
    manifest = place.manifest(
        tasks=tasks, agent=agent, mergePolicy={"checks": ["test ! -e RED || { cat RED; exit 1; }"]}
    )

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    assert sorted(place.subjects()[:2]) == ["Do a", "Fix it"] and attempts(place) == [1, 1]
    *since, _, _ = place.git("log", "-g", "--format=%H", "main").split()
    assert since and not any("RED" in place.git("ls-tree", "--name-only", tip).split() for tip in since)
    assert {task["status"] for task in place.tasks().values()} == {"closed"}


def test_a_script_of_the_checks_that_the_base_lacks_is_said_before_anything_runs(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = str(place.manifest(tasks=TASKS, mergePolicy={"checks": ["sh ci/check.sh"]}))
    assert "ci/check.sh is not in main" in place.reconcile("diff", "-f", manifest, code=1)

    (place.root / "ci").mkdir()
    (place.root / "ci/check.sh").write_text("exit 0\n")
    assert "ci/check.sh is not in main" in place.reconcile("diff", "-f", manifest, code=1)  # checks run on commits

    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Check")
    assert "is not in main" not in place.reconcile("diff", "-f", manifest, code=1)


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (
            0o644,
            "#!/bin/sh\nexit 0\n",
            "ci/check.sh is not executable in main; 'chmod +x ci/check.sh'",
        ),
        (0o755, "#!/no/such/sh -e\nexit 0\n", "ci/check.sh is run by '/no/such/sh'"),
        (0o755, "#!/usr/bin/env no-such-sh\nexit 0\n", "ci/check.sh is run by 'no-such-sh'"),
        (0o755, "#!/bin/sh\r\nexit 0\n", "ci/check.sh is run by '/bin/sh\\r'"),
    ],
    ids=["mode", "interpreter", "env", "line ends"],
)
def test_a_script_that_can_not_be_executed_is_said_before_anything_runs_and_how_it_is_mended(
    tmp_path: Path, mode: int, text: str, said: str
) -> None:
    place = Place(tmp_path)
    (place.root / "ci").mkdir()
    script = place.root / "ci/check.sh"
    script.write_bytes(text.encode())
    script.chmod(mode)
    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Check")
    manifest = str(place.manifest(tasks=TASKS[:1], mergePolicy={"checks": ["./ci/check.sh --all"]}, suspend=True))

    assert said in place.reconcile("diff", "-f", manifest)
    place.reconcile("apply", "-f", manifest)
    assert said in place.reconcile("status")
    looked = place.reconcile("doctor", code=1)
    assert all(part in looked for part in said.split("; "))

    # Who reads the script is named: then it needs no right of its own.
    read = str(place.manifest(tasks=TASKS[:1], mergePolicy={"checks": ["sh ci/check.sh"]}, suspend=True))
    assert "can't be run" not in place.reconcile("diff", "-f", read)
    if mode == 0o644:
        subprocess.run(said.partition("'")[2].rstrip("'").split(), cwd=place.root, check=True)
        place.git("commit", "--quiet", "--all", "--message=Executable")
        assert "can't be run" not in place.reconcile("diff", "-f", manifest)


def test_all_scripts_that_can_not_be_run_are_said_at_once_with_what_mends_them(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for name in ("lint.sh", "unit.sh", "e2e.sh"):
        (place.root / name).write_text("#!/bin/sh\nexit 0\n")
    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Check")
    checks = ["./lint.sh", "./unit.sh -q", "sh gone.sh", "./e2e.sh", "./lint.sh --all"]
    manifest = str(place.manifest(tasks=TASKS[:1], mergePolicy={"checks": checks}, suspend=True))

    said = place.reconcile("diff", "-f", manifest)

    assert "lint.sh, unit.sh, e2e.sh are not executable in main, gone.sh is not in main; " in said
    assert said.count("'chmod +x lint.sh unit.sh e2e.sh' and commit that, commit gone.sh there") == 1
    assert "unless one before" not in said
    mends = said.partition("main; '")[2].partition("'")[0]
    subprocess.run(mends.split(), cwd=place.root, check=True)
    place.git("commit", "--quiet", "--all", "--message=Executable")
    assert "check 3 can't be run, unless one before mends that: gone.sh is not in main" in place.reconcile(
        "diff", "-f", manifest
    )


def test_a_program_that_is_missing_hides_no_script_that_can_not_be_run_either(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for name, by in {"one.sh": "sh1", "two.py": "python0"}.items():
        (place.root / name).write_text(f"#!/usr/bin/env {by}\n")
        (place.root / name).chmod(0o755)
    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Check")
    checks = ["./gone.sh", "./one.sh", "pytset", "./two.py"]
    manifest = str(place.manifest(tasks=TASKS[:1], mergePolicy={"checks": checks}, suspend=True))

    said = place.reconcile("diff", "-f", manifest)

    for words in (
        "pytset is not on their PATH, gone.sh is not in main, ",
        "install sh1, install python0",
        "commit gone.sh",
    ):
        assert said.count(words) == 1
    assert "unless one before" not in said


@pytest.mark.parametrize("check", ["./linked/check.sh", "./link.sh", "./ci"])
def test_of_a_script_behind_a_link_nothing_is_foretold(tmp_path: Path, check: str) -> None:
    place = Place(tmp_path)
    (place.root / "ci").mkdir()
    (place.root / "ci/check.sh").write_text("#!/bin/sh\n")
    (place.root / "ci/check.sh").chmod(0o755)
    (place.root / "linked").symlink_to("ci")
    (place.root / "link.sh").symlink_to("ci/check.sh")
    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Check")

    said = place.reconcile("diff", "-f", str(place.manifest(mergePolicy={"checks": [check]})), code=1)

    assert "can't be run" not in said


def test_a_script_of_a_later_check_that_the_base_lacks_is_told_and_holds_nobody_up(tmp_path: Path) -> None:
    place = Place(tmp_path)
    checks = ["echo 'exit 0' > later.sh", "sh later.sh"]
    manifest = str(place.manifest(tasks=TASKS, mergePolicy={"checks": checks}))
    told = "later.sh is not in main"

    assert told in place.reconcile("diff", "-f", manifest, code=1)
    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS, mergePolicy={"checks": checks}, suspend=True)))
    assert told in place.reconcile("doctor", code=None) and told in degraded(place)["message"]
    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS, mergePolicy={"checks": checks})))
    place.reconcile("watch", "--until-done")

    merged(place, "Do a", "Do b")
    assert degraded(place)["status"] == "False", "it has passed: an earlier check makes it"
    assert told not in place.reconcile("doctor", code=None)


def test_a_base_that_fails_its_checks_is_said_by_the_doctor_until_somebody_asks_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = str(
        place.manifest(tasks=TASKS, mergePolicy={"checks": [f"test -e {tmp_path}/up || {{ echo down; exit 3; }}"]})
    )
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    assert "main fails the checks on its own (exit status 3): down" in place.reconcile("doctor", code=1)

    (tmp_path / "up").touch()
    place.reconcile("retry", place.tasks()["Do a"]["id"])
    place.reconcile("apply", "-f", manifest, "--wait")

    merged(place, "Do a", "Do b")
    assert "fails the checks on its own" not in place.reconcile("doctor")


def test_a_queue_whose_machine_is_broken_pauses_and_goes_on_when_a_person_says_so(tmp_path: Path) -> None:
    place, down = Place(tmp_path), tmp_path / "down"
    tasks = [{"key": key, "title": f"Do {key}"} for key in "abcdef"]
    # Whoever is sent back takes longer than a check, as agents do.
    done = 'test "$RECONCILE_ATTEMPT" = 1 || sleep 10; echo x >> "$RECONCILE_TASK" && git add . && git commit -qm done'
    agent = {"argv": ["sh", "-c", done], "maxAttempts": 50}
    manifest = str(place.manifest(tasks=tasks[:1], agent=agent, mergePolicy={"checks": [f"test ! -e {down}"]}))
    place.reconcile("apply", "-f", manifest, "--wait")
    down.touch()  # the base has passed, and from now on nothing does
    place.manifest(tasks=tasks, agent=agent, mergePolicy={"checks": [f"test ! -e {down}"], "queue": {"retries": 0}})

    place.reconcile("apply", "-f", manifest, "--wait", code=3)

    said = degraded(place)
    assert said["reason"] == "QueuePaused" and "'reconcile unfreeze work'" in said["message"], said
    assert "QueuePaused" in place.reconcile("get", "tasks")
    assert "main is green at its tip" in place.reconcile("status")
    assert "no manifest 'wrok' is applied" in place.reconcile("unfreeze", "wrok", code=2)
    down.unlink()
    place.reconcile("watch", "--until-done", code=3)  # no check starts by itself, however well it would go
    assert "the queue of work goes on" in place.reconcile("unfreeze")
    place.reconcile("watch", "--until-done")
    merged(place, *(f"Do {key}" for key in "abcdef"))
    assert "no queue of work pauses" in place.reconcile("unfreeze", "work")


def test_a_check_that_passes_where_there_is_nothing_is_reported_and_holds_nobody_up(tmp_path: Path) -> None:
    place = Place(tmp_path)
    finds_nothing = "for each in *.py; do test ! -e $each || python3 $each || exit 1; done"
    checks = ["test -e README", finds_nothing, "git ls-files | grep -q READ", "true"]
    manifest = str(place.manifest(tasks=TASKS[:1], mergePolicy={"checks": checks}))

    _, said = ended(place.start("apply", "-f", manifest, "--wait"))
    assert "the check 'true' always passes: it proves nothing" in said

    merged(place, "Do a")
    found = next(each for each in place.json("doctor")["checks"] if each["name"] == "empty tree")
    assert (found["state"], found["found"]) == ("warning", f"work: {finds_nothing}, true")
    assert "proves nothing" in found["message"]

    place.manifest(tasks=TASKS[:1], mergePolicy={"checks": checks[:1]})
    place.reconcile("apply", "-f", manifest, "--wait")
    found = next(each for each in place.json("doctor")["checks"] if each["name"] == "empty tree")
    assert (found["state"], found["found"]) == ("ok", "it fails there, as it is to")


def test_a_check_that_takes_long_where_there_is_nothing_is_ended(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = str(place.manifest(tasks=[], mergePolicy={"checks": ["sleep 611 & wait"]}))
    place.reconcile("apply", "-f", manifest)
    assert "empty tree" not in {each["name"] for each in place.json("doctor")["checks"]}
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x00611\x00" not in commands


def test_on_a_terminal_a_new_check_is_tried_out_where_there_is_nothing_and_once(tmp_path: Path) -> None:
    place, ran = Place(tmp_path), tmp_path / "ran"
    manifest = str(place.manifest(tasks=[], mergePolicy={"checks": [f"date >> {ran}", "test -e README"]}))
    for _ in range(2):
        terminal = Terminal(place.root, place.env, "apply", "-f", manifest, columns=200)
        assert terminal.wait() == 0
        shown = "\n".join(terminal.lines)
        assert "ran' passes where there is nothing: it proves nothing" in shown and "README' passes" not in shown
        terminal.close()
    assert len(ran.read_text().splitlines()) == 1
