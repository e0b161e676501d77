"""What of the caller's environment an agent gets."""

import pytest

from reconciler.system.environment import looks_secret, path_with, scrubbed, with_passed

SECRET = [
    "GH_TOKEN",
    "GITHUB_ACTOR",
    "ANTHROPIC_API_KEY",
    "OPENAI_APIKEY",
    "MyPassword",
    "DB_PASSWD",
    "client_secret",
    "XAUTHORITY",
    "SSH_AUTH_SOCK",
    "AWS_REGION",
    "GIT_DIR",
    "BD_ACTOR",
    "SESSION_COOKIE",
    "PRIVATE_THING",
    "SIGNING_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
]
PLAIN = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TERM",
    "KEYBOARD",
    "KEY_LAYOUT",
    "GITTER",
    "BDAY",
    "EDITOR",
    "VIRTUAL_ENV",
    "CARGO_HOME",
]


@pytest.mark.parametrize("name", SECRET)
def test_a_name_that_looks_like_a_secret_is_kept_from_agents(name):
    assert looks_secret(name)
    assert scrubbed({name: "x"}) == {}


@pytest.mark.parametrize("name", PLAIN)
def test_every_other_name_is_passed_on(name):
    assert scrubbed({name: "x"}) == {name: "x"}


def test_what_the_manifest_names_is_passed_on_whatever_it_looks_like():
    assert with_passed({"A_TOKEN": "1", "B_TOKEN": "2"}, {}, ["A_TOKEN"]) == {"A_TOKEN": "1"}


def test_what_the_manifest_sets_wins_over_the_caller():
    assert with_passed({"LANG": "C", "A_TOKEN": "1"}, {"LANG": "de", "A_TOKEN": "2"}, ["A_TOKEN"]) == {
        "LANG": "de",
        "A_TOKEN": "2",
    }


def test_the_run_of_the_caller_is_not_passed_on_as_the_agents_own():
    assert scrubbed({"RECONCILE_RUN": "work/a/1", "RECONCILE_TASK": "a", "PWD": "/", "OLDPWD": "/"}) == {}


def test_our_program_is_found_after_all_that_the_user_has():
    assert path_with("/a:/b", "/ours") == "/a:/b:/ours"
    assert path_with(None, "/ours").endswith("/bin:/ours")
