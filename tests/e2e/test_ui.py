"""The page on this machine: what it shows, what a click does, and everybody who is refused."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import Ui, first_data, live
from strangers import AGENT, Place
from waiting import until

EVIL = '<script>document.title="owned"</script><img src=x onerror=alert(1)>\u202e'
WAITS = "echo working; sleep 600"

# What an agent of ours could try: the session's cookie and the page's token are taken for stolen.
CLIENT = """
import http.client, socket, sys
where, host, cookie, origin, body = sys.argv[1:6]
if where.startswith("/"):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(where)
else:
    name, _, port = where.rpartition(":")
    connection = http.client.HTTPConnection(name, int(port))
connection.request("POST", "/act", body, {"Host": host, "Cookie": cookie, "Origin": origin,
                   "Content-Type": "application/x-www-form-urlencoded", **dict(a.split("=", 1) for a in sys.argv[6:])})
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


def offered(folder: Path) -> Place:
    """A repository in which two changes wait for an approval."""
    place = Place(folder)
    tasks = [{"key": "a", "title": "Do a"}, {"key": "b", "title": EVIL}]
    agent = {"argv": ["sh", "-c", f"echo working; {AGENT}"]}
    manifest = place.manifest(tasks=tasks, agent=agent, mergePolicy={"review": "human"})
    place.reconcile("apply", "-f", str(manifest), "--wait", code=3)
    return place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.reconcile("stop", "--all", code=None)


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[Ui]:
    with Ui(offered(tmp_path)) as ui:
        ui.enter()
        yield ui


@pytest.fixture(scope="module", params=["port", "socket"])
def page(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ui]:
    """The same on a port and on a socket, for those who are refused: they change nothing."""
    folder = tmp_path_factory.mktemp("page")
    args = ("--socket", str(folder / "ui")) if request.param == "socket" else ()
    with Ui(offered(folder), args) as ui:
        ui.enter()
        yield ui


def id_of(place: Place, title: str) -> str:
    return str(place.tasks()[title]["id"])


def head_of(place: Place, id: str) -> str:
    return place.git("rev-parse", f"agent/{id}").strip()


def approved(place: Place, id: str) -> bool:
    shown = place.json("describe", id)
    return bool(shown["pullRequest"]["review"] == "approved")


def as_another_process(
    ui: Ui, do: str, *wrap: str, env: dict[str, str] | None = None, more: tuple[str, ...] = ()
) -> str:
    """The same request, sent by another process of this machine."""
    where = ui.args[1] if ui.args else ui.host
    body = f"csrf={ui.csrf}&do={do.replace(' ', '+')}"
    argv = (*wrap, sys.executable, "-c", CLIENT, where, ui.host, ui.cookie, ui.origin, body, *more)
    done = subprocess.run(argv, env={**ui.place.env, **(env or {})}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- what it shows, and what it does -------------------------------------------------------------------------


def test_a_click_approves_what_was_on_the_screen_and_the_page_says_so(ui: Ui) -> None:
    id = id_of(ui.place, "Do a")
    button = f"approve {id} {head_of(ui.place, id)}"
    assert f'value="{button}"' in ui.page()

    answer = ui.act(button)

    assert (answer.code, "approved #" in answer.text) == (200, True), answer.text
    assert approved(ui.place, id)
    ui.until_on_page("approved", f"/task/{id}")


def test_a_second_approval_hears_what_became_of_the_first(ui: Ui) -> None:
    id = id_of(ui.place, "Do a")
    button = f"approve {id} {head_of(ui.place, id)}"
    assert ui.act(button).code == 200
    ui.place.reconcile("apply", "-f", str(ui.place.root.parent / "epic.yaml"), "--wait", code=3)

    answer = ui.act(button)

    assert answer.code == 409 and "is merged already" in answer.text


def test_an_approval_is_of_the_commit_that_was_on_the_screen(ui: Ui) -> None:
    id = id_of(ui.place, "Do a")
    seen = head_of(ui.place, id)
    ui.place.git("worktree", "add", "--quiet", "../by-hand", "--detach", seen)
    ui.place.git("commit", "--quiet", "--allow-empty", "--message=more", cwd=ui.place.root.parent / "by-hand")
    later = ui.place.git("rev-parse", "HEAD", cwd=ui.place.root.parent / "by-hand").strip()
    ui.place.git("update-ref", f"refs/heads/agent/{id}", later)

    answer = ui.act(f"approve {id} {seen}")

    assert answer.code == 409 and "by now" in answer.text, answer.text
    assert not approved(ui.place, id)


def test_changes_are_asked_for_in_words_that_never_become_an_option(ui: Ui) -> None:
    id = id_of(ui.place, "Do a")
    assert ui.act(f"reject {id} {head_of(ui.place, id)} sure").code == 400, "no words"

    assert ui.act(f"reject {id} {head_of(ui.place, id)} sure", words="--close\nlouder").code == 200

    shown = ui.place.json("describe", id)
    assert shown["pullRequest"]["review"] == "rejected" and shown["pullRequest"]["state"] == "open"


def test_what_spends_or_destroys_is_asked_twice(page: Ui) -> None:
    id = id_of(page.place, "Do a")
    assert page.act(f"stop {id}").code == 400
    assert page.act(f"spawn {id}").code == 400
    assert page.place.json("get", "runs", id)[-1]["attempt"] in (1, None)


def test_titles_are_inert(page: Ui) -> None:
    id = id_of(page.place, EVIL)
    for path in ("/", f"/task/{id}", "/timeline", "/next", "/manifest/work", "/?q=%3Cscript%3Ealert(1)%3C/script%3E"):
        shown = page.page(path)
        assert "<script>document" not in shown and "<img src=x" not in shown and "\u202e" not in shown, path
        assert "<script>alert" not in shown, path
        assert re.findall(r"<script\b[^>]*>", shown) == ['<script src="/static/page.js" defer>'], path


def test_a_change_reaches_an_open_page(ui: Ui) -> None:
    id = id_of(ui.place, "Do a")
    with live(ui, f"/task/{id}") as answer:
        first_data(answer, "heads")
        ui.place.reconcile("approve", id)
        first_data(answer, "approved")


def test_a_log_is_read_where_it_is_looked_at(ui: Ui) -> None:
    with live(ui, f"/task/{id_of(ui.place, 'Do a')}") as answer:
        first_data(answer, "working\\n")


def test_a_page_that_nobody_has_is_none(page: Ui) -> None:
    assert page.ask("GET", "/nowhere").code == 404
    assert page.ask("GET", "/static/../app.py").code == 404
    assert "No manifest has this task" in page.page("/task/nobody")


# --- who is refused ------------------------------------------------------------------------------------------


def test_a_token_is_good_once(place: Place) -> None:
    with Ui(place) as ui:
        url = ui.url
        assert ui.enter().code == 200
        assert ui.url != url, "the next one is printed"
        other = Ui(place, process=ui.process, printed=[url])
        assert other.ask("GET", url.partition(ui.origin)[2]).code == 403
        refused = other.ask("GET", "/enter?token=")
        assert refused.code == 403 and "not known, or was used" in refused.text


def test_no_page_has_a_browser_look_for_an_icon_that_is_not_there(place: Place) -> None:
    with Ui(place) as ui:
        for answer in (ui.ask("GET", "/"), ui.enter(), ui.ask("GET", "/"), ui.ask("GET", "/nowhere")):
            assert 'rel="icon" href="/static/icon.svg"' in answer.text
        assert ui.ask("GET", "/static/icon.svg").code == 200


def test_without_a_session_nothing_is_told(place: Place) -> None:
    with Ui(place) as ui:
        for path in ("/", "/live/", "/task/x", "/timeline", "/act"):
            answer = ui.ask("GET", path)
            assert answer.code == 401 and "project" not in answer.text, path
        assert ui.ask("GET", "/", cookie="reconcile-0=guess").code == 401


def test_the_session_is_kept_from_scripts_and_other_sites(place: Place) -> None:
    with Ui(place) as ui:
        cookie = ui.enter().headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie


@pytest.mark.parametrize(
    "others",
    ['prefs={"theme": "dark"}; %s', "a/b=1; %s", "flag; %s", "said=two words; %s", "{name}=x; %s", "%s; {name}=x"],
)
def test_cookies_of_servers_on_other_ports_lock_nobody_out(page: Ui, others: str) -> None:
    sent = others.replace("{name}", page.cookie.partition("=")[0]) % page.cookie
    assert page.ask("GET", "/", Cookie=sent).code == 200


def test_the_page_is_served_under_its_own_name_alone(page: Ui) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "127.0.0.1:1", "", "localhost.:80"):
        answer = page.ask("GET", "/", Host=host)
        assert answer.code in (400, 421), host
        assert answer.code == 400 or f'href="{page.origin}"' in answer.text


def test_what_another_page_asks_for_is_refused(page: Ui) -> None:
    id = id_of(page.place, "Do a")
    do = f"approve {id} {head_of(page.place, id)}"
    for site in ("cross-site", "same-site"):  # another port of this host is the same site
        assert page.ask("GET", "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").code == 403
        assert page.act(do, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document").code == 403
    for origin in (None, "null", "http://127.0.0.1:1", "https://evil.example", page.origin + ".evil.example"):
        assert page.act(do, origin=origin).code == 403, origin
    assert not approved(page.place, id)


def test_a_link_to_the_page_may_be_followed(page: Ui) -> None:
    visit = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert page.ask("GET", "/", **visit).code == 200
    assert page.ask("GET", "/", **{**visit, "Sec_Fetch_Dest": "iframe"}).code == 403


def test_an_act_needs_the_token_of_the_page(page: Ui) -> None:
    id = id_of(page.place, "Do a")
    do = f"approve {id} {head_of(page.place, id)}"
    for csrf in ("", "0" * 64, page.csrf[:-1], page.csrf + "0"):
        assert page.act(do, csrf=csrf).code == 403
    assert page.ask("GET", f"/act?do={do.replace(' ', '+')}&csrf={page.csrf}").code in (404, 405)
    assert not approved(page.place, id)


@pytest.mark.parametrize(
    "do",
    [
        "",
        "delete work",
        "approve",
        "approve --all",
        "approve a/../b",
        "approve a b c",
        "stop -- x",
        "reject x $(id) sure",
    ],
)
def test_only_acts_of_the_table_are_done(place: Place, do: str) -> None:
    with Ui(place) as page:
        page.enter()
        assert page.act(do).code == 400


def test_what_no_page_sends_is_not_understood(page: Ui) -> None:
    assert page.ask("POST", "/act", "&".join(f"a{n}=1" for n in range(5000)), origin=page.origin).code == 400


def test_nothing_may_be_loaded_or_framed(page: Ui) -> None:
    for path in ("/", "/enter?token=x", "/nowhere", "/static/page.js"):
        headers = page.ask("GET", path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY" and headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_a_read_only_page_has_no_buttons_and_does_nothing(tmp_path: Path) -> None:
    place = offered(tmp_path)
    id = id_of(place, "Do a")
    with Ui(place, ("--read-only",)) as ui:
        ui.enter()
        ui.until_on_page("Do a")
        assert 'name="do"' not in ui.page() and 'name="do"' not in ui.page(f"/task/{id}")
        answer = ui.act(f"approve {id} {head_of(place, id)}")
        assert answer.code == 403 and f"reconcile approve {id}" in answer.text
    assert not approved(place, id)


def test_what_runs_inside_a_run_can_not_click(page: Ui) -> None:
    id = id_of(page.place, "Do a")
    do = f"approve {id} {head_of(page.place, id)}"

    agent = as_another_process(page, do, env={"RECONCILE_RUN": "work/x/1"})

    assert agent.startswith("403") and "inside a run" in agent and f"reconcile approve {id}" in agent
    assert not approved(page.place, id)


def test_what_an_agent_started_can_not_click_either_whatever_it_forgets(page: Ui) -> None:
    id = id_of(page.place, "Do a")
    do = f"approve {id} {head_of(page.place, id)}"
    shell = ("sh", "-c", '"$@"; true', "sh", "env", "-u", "RECONCILE_RUN")

    child = as_another_process(page, do, *shell, env={"RECONCILE_RUN": "work/x/1"})

    assert child.startswith("403") and "inside a run" in child
    assert not approved(page.place, id)


def test_nobody_speaks_for_another_by_a_header(page: Ui) -> None:
    id = id_of(page.place, "Do a")
    do = f"approve {id} {head_of(page.place, id)}"
    forged = ("X-Forwarded-For=127.0.0.1", "Forwarded=for=127.0.0.1", "X-Real-IP=127.0.0.1")

    agent = as_another_process(page, do, env={"RECONCILE_RUN": "work/x/1"}, more=forged)

    assert agent.startswith("403")


def test_another_process_of_the_person_may_click(ui: Ui) -> None:
    id = id_of(ui.place, "Do a")
    assert as_another_process(ui, f"approve {id} {head_of(ui.place, id)}").startswith("200")
    assert approved(ui.place, id)


def test_a_peer_that_is_gone_is_refused(page: Ui) -> None:
    """Its connection lives on in a child that carries no mark of the run: nobody can tell whose that is."""
    if not page.args:
        pytest.skip("of a port the holders of the other end are looked for, also such a child")
    id = id_of(page.place, "Do a")
    body = f"csrf={page.csrf}&do=approve+{id}+{head_of(page.place, id)}"
    script = textwrap.dedent("""
        import http.client, os, socket, sys, time
        where, host, cookie, origin, body = sys.argv[1:6]
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(where)
        parent = os.getpid()
        if os.fork():
            os._exit(0)
        while os.getppid() == parent:
            time.sleep(0.01)
        connection.request("POST", "/act", body, {"Host": host, "Cookie": cookie, "Origin": origin})
        print(connection.getresponse().status, flush=True)
    """)
    argv = (sys.executable, "-c", script, page.args[1], page.host, page.cookie, page.origin, body)
    done = subprocess.run(argv, env=page.place.env, capture_output=True, text=True)
    assert done.stdout == "403\n", done.stdout + done.stderr
    assert not approved(page.place, id)


def test_elsewhere_than_on_this_machine_needs_a_certificate(place: Place) -> None:
    said = place.reconcile("ui", "--listen", "192.0.2.1:8443", code=2)
    assert "certificate" in said
    assert "every address" in place.reconcile("ui", "--listen", "0.0.0.0:8443", code=2)


def test_the_page_is_not_served_inside_a_run(place: Place) -> None:
    place.env["RECONCILE_RUN"] = "work/x/1"
    assert "refused inside a run" in place.reconcile("ui", code=1)


def test_ctrl_c_ends_it_without_a_word_also_while_a_page_is_open(ui: Ui) -> None:
    assert ui.process
    with live(ui, "/") as answer:
        first_data(answer, "")
        ui.process.send_signal(signal.SIGINT)
        assert ui.process.stdout
        said = ui.process.stdout.read()
    assert (ui.process.wait(), said.strip()) == (130, "")


def test_a_port_in_use_is_named(ui: Ui) -> None:
    port = ui.host.rpartition(":")[2]
    said = ui.place.reconcile("ui", "--port", port, code=2)
    assert f"port {port} is in use" in said and "leave out --port" in said


def test_others_can_not_open_the_socket(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "ui"
    with Ui(place, ("--socket", str(path))):
        assert path.stat().st_mode & 0o777 == 0o600
        assert "is there already" in place.reconcile("ui", "--socket", str(path), code=2)
    assert not path.exists()


def test_what_is_no_socket_is_not_removed(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_text("dear")
    assert "is there already" in place.reconcile("ui", "--socket", str(path), code=2)
    assert path.read_text() == "dear"


def test_a_socket_that_a_killed_page_left_is_taken_over(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "ui"
    with Ui(place, ("--socket", str(path))) as ui:
        assert ui.process
        ui.process.send_signal(signal.SIGKILL)
        ui.process.wait()
    assert path.exists()
    with Ui(place, ("--socket", str(path))) as ui:
        assert ui.enter().code == 200


def test_a_page_that_nobody_looks_at_has_nothing_published(place: Place, tmp_path: Path) -> None:
    watch = place.start("watch", "-f", str(place.manifest(agent={"argv": ["sh", "-c", WAITS]})))
    try:
        with Ui(place) as ui:
            look = place.root / ".git/reconcile/status/look"
            until(lambda: place.root.joinpath(".git/reconcile/manifests/work.yaml").exists(), by=watch)
            assert not look.exists()
            ui.enter()
            ui.until_on_page("Do a")
            until(lambda: (look / "work.json").exists(), "what the watch publishes", by=watch)
    finally:
        watch.terminate()
        watch.communicate()
