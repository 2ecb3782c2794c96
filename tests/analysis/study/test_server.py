"""The raters' web server over real connections: what it serves, and what it refuses."""

import http.client
import time

import pytest
from fixtures.small_study import Server, ask, make_study, stored, vote

from analysis.study.addresses import host_name
from analysis.study.design import CATCH
from analysis.study.server import HEADERS, MOST_BYTES
from analysis.study.votes import Votes


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def server(study):
    server = Server(study)
    yield server
    server.kill()


@pytest.fixture
def rater(study):
    """Token and number of a rater of one's own."""
    votes = Votes(study.votes)
    (token,) = votes.invite(study, 1)
    number = votes.rater_of(token)
    votes.close()
    return token, number


def test_the_page_loads_nothing_from_elsewhere_and_is_locked_down(server):
    for path, kind in (("/", "text/html"), ("/study.css", "text/css"), ("/study.js", "text/javascript")):
        reply = ask(server, "GET", path)
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith(kind)
        for name, value in HEADERS.items():
            assert reply.headers[name] == value
        assert "Server" not in reply.headers
        text = reply.data.decode()
        assert "http:" not in text
        assert "https:" not in text
        assert "<script>" not in text
        assert "style=" not in text
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_rater_agrees_sees_the_own_pictures_and_votes(server, study, rater):
    token, number = rater
    before = ask(server, "GET", "/api/state", token).json
    assert before["consented"] is False
    assert (before["done"], before["total"]) == (0, study.design.asked)
    assert before["question"] == study.question
    assert ask(server, "GET", "/api/picture/0/left", token).status == 404
    assert ask(server, "POST", "/api/vote", token, vote(0)).status == 409
    assert ask(server, "POST", "/api/consent", token, {"agreed": True}).json["consented"] is True
    trial = Votes(study.votes).trial(number, 0)
    for side, method in (("left", trial.left), ("right", trial.right)):
        picture = ask(server, "GET", f"/api/picture/0/{side}", token)
        assert picture.headers["Content-Type"] == "image/png"
        assert picture.data == study.picture(method, trial.item).read_bytes()
        assert not any(method in f"{name}: {value}" for name, value in picture.headers.items())
    for path in ("0/middle", "0/reference", "99/left", "-1/left"):
        assert ask(server, "GET", f"/api/picture/{path}", token).status == 404
    reply = ask(server, "POST", "/api/vote", token, vote(0, "right"))
    assert reply.json["new"] is True
    assert reply.json["done"] == 1
    assert stored(study, number) == [(0, "right")]


def test_no_answer_tells_which_trials_are_checks_or_which_method_is_which(server, study, rater):
    token, _ = rater
    state = ask(server, "POST", "/api/consent", token, {"agreed": True})
    for word in (*study.design.methods, CATCH, "degraded", "repeat", "method"):
        assert word not in state.data.decode()


def test_a_replayed_vote_changes_nothing_and_another_one_is_refused(server, study, rater):
    token, number = rater
    ask(server, "POST", "/api/consent", token, {"agreed": True})
    assert ask(server, "POST", "/api/vote", token, vote(0, "left")).json["new"] is True
    again = ask(server, "POST", "/api/vote", token, vote(0, "left", 5))
    assert (again.status, again.json["new"], again.json["done"]) == (200, False, 1)
    other = ask(server, "POST", "/api/vote", token, vote(0, "right"))
    assert (other.status, other.json["problem"]) == (409, "this pair was answered already, and answers are final")
    assert ask(server, "POST", "/api/vote", token, vote(2)).status == 409
    assert stored(study, number) == [(0, "left")]


@pytest.mark.parametrize("token", [None, "", "guess", "x" * 5000, "a b", "%00", "'; DROP TABLE votes; --"])
def test_a_bad_token_gets_nothing(server, token):
    for method, path, body in (
        ("GET", "/api/state", None),
        ("GET", "/api/picture/0/left", None),
        ("POST", "/api/consent", {"agreed": True}),
        ("POST", "/api/vote", vote(0)),
    ):
        reply = ask(server, method, path, token, body)
        assert reply.status == 401
        assert reply.json == {"problem": "this link is not valid"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 900, 400),
        (b"null", 400),
        ({"trial": 0, "side": "left"}, 400),
        (vote(0, "up"), 400),
        (vote("0"), 400),
        (vote(0.5), 400),
        (vote(True), 400),
        (vote(-1), 400),
        (vote(10**30), 400),
        (vote(0, "left", -5), 400),
        (vote(0, "left", 10**9), 400),
        (vote(0, "left", None), 400),
        (vote(0) | {"rater": 3}, 400),
        (b" " * (MOST_BYTES + 1), 413),
        (b"x" * 5_000_000, 413),
    ],
)
def test_a_malformed_vote_is_refused_and_nothing_is_stored(server, study, rater, body, status):
    token, number = rater
    ask(server, "POST", "/api/consent", token, {"agreed": True})
    try:
        assert ask(server, "POST", "/api/vote", token, body).status == status
    except (ConnectionError, http.client.HTTPException):
        assert status == 413  # the server closed the line before all was sent
    assert stored(study, number) == []
    assert ask(server, "GET", "/api/state", token).status == 200


def test_other_methods_types_sites_and_names_are_refused(server, study, rater):
    token, number = rater
    ask(server, "POST", "/api/consent", token, {"agreed": True})
    for method, path in (("GET", "/api/vote"), ("PUT", "/api/vote"), ("DELETE", "/"), ("POST", "/api/state")):
        assert ask(server, method, path, token).status == 405
    for path in (
        f"/api/picture/{'9' * 5000}/left",
        "/api/picture/99999/left",
        "/votes.sqlite",
        "/study.json",
        "/../study.json",
        "/pictures/",
        "/page/study.js",
        "//",
    ):
        assert ask(server, "GET", path, token).status == 404
    send = {"trial": 0, "side": "left", "milliseconds": 900}
    for headers, status in (
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": f"http://127.0.0.1:{server.port + 1}"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 400),
    ):
        assert ask(server, "POST", "/api/vote", token, send, headers).status == status
    assert stored(study, number) == []
    own = {"Origin": server.address, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json; charset=utf-8"}
    assert ask(server, "POST", "/api/vote", token, send, own).status == 200


def test_behind_another_web_server_its_address_is_the_own_one(study, rater):
    token, _ = rater
    server = Server(study, "--url", "https://study.example.org")
    try:
        for origin, host, status in (
            ("https://study.example.org", f"127.0.0.1:{server.port}", 200),  # the other server names us by our address
            ("https://study.example.org", "study.example.org", 200),
            ("https://evil.example", "study.example.org", 403),
            ("https://study.example.org", "evil.example", 400),
        ):
            headers = {"Origin": origin, "Host": host}
            assert ask(server, "POST", "/api/consent", token, {"agreed": True}, headers).status == status
    finally:
        server.kill()


@pytest.mark.parametrize("url", ["https://Study.Example.org", "https://study.example.org:443/"])
def test_an_address_with_capitals_or_its_usual_port_is_the_one_that_browsers_send(url, study, rater):
    token, _ = rater
    server = Server(study, "--url", url)
    try:
        for host in (f"127.0.0.1:{server.port}", "study.example.org"):
            headers = {"Origin": "https://study.example.org", "Host": host}
            assert ask(server, "POST", "/api/consent", token, {"agreed": True}, headers).status == 200
            headers["Origin"] = "https://study.example.org:8443"
            assert ask(server, "POST", "/api/consent", token, {"agreed": True}, headers).status == 403
    finally:
        server.kill()


def test_raters_reach_an_address_of_ipv6(study, rater):
    token, _ = rater
    server = Server(study, "--url", "http://[2001:DB8:0::5]:8200")
    try:
        for host, status in (("[2001:db8::5]:8200", 200), ("[2001:db8::6]:8200", 400)):
            headers = {"Origin": "http://[2001:db8::5]:8200", "Host": host}
            assert ask(server, "GET", "/", headers=headers).status == status
            assert ask(server, "POST", "/api/consent", token, {"agreed": True}, headers).status == status
        headers["Host"] = f"127.0.0.1:{server.port}"  # another web server, which names us by our address
        assert ask(server, "POST", "/api/consent", token, {"agreed": True}, headers).status == 200
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("host", "name"),
    [("::1", "[::1]"), ("2001:0DB8::0:5", "[2001:db8::5]"), ("127.0.0.1", "127.0.0.1"), ("Host.A", "host.a")],
)
def test_hosts_are_named_as_browsers_do(host, name):
    assert host_name(host) == name


def test_nobody_answers_faster_than_people_do(server, study, rater):
    token, number = rater
    ask(server, "POST", "/api/consent", token, {"agreed": True})
    codes = [ask(server, "POST", "/api/vote", token, vote(0)).status for _ in range(15)]
    if 429 not in codes:
        pytest.skip("this machine is too busy at the moment to send ten requests in a second")
    assert codes[0] == 200
    time.sleep(1.1)
    assert ask(server, "POST", "/api/vote", token, vote(1)).status == 200
    assert stored(study, number) == [(0, "left"), (1, "left")]
