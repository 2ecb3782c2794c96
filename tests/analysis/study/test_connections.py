"""Connections to the raters' page that say nothing, or too slowly; and a disk that refuses."""

import json
import os
import signal
import socket
import sqlite3
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
from fixtures.small_study import ask, make_study, stored

from analysis.study import connections
from analysis.study.connections import listening
from analysis.study.server import serve
from analysis.study.votes import Votes


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def rater(study):
    """Token and number of a rater of one's own."""
    votes = Votes(study.votes)
    (token,) = votes.invite(study, 1)
    number = votes.rater_of(token)
    votes.close()
    return token, number


@contextmanager
def forked_server(study):
    """A server in a fork, which has what a test has patched; its port."""
    listener = listening("127.0.0.1", 0)
    child = os.fork()
    if child == 0:
        try:
            serve(study, Votes(study.votes), listener, ["127.0.0.1"], None)
        finally:
            os._exit(0)
    try:
        server = SimpleNamespace(port=listener.getsockname()[1])
        assert ask(server, "GET", "/icon.svg").status == 200  # it has opened the votes
        yield server
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        listener.close()


def test_an_agreement_that_cannot_be_saved_and_a_picture_that_is_gone_are_told(study, monkeypatch, rater):
    token, _ = rater
    monkeypatch.setattr("analysis.study.votes.WAIT_SECONDS", 0.1)
    picture = type(study).picture
    monkeypatch.setattr(type(study), "picture", lambda *what: picture(*what).with_suffix(".gone"))
    with forked_server(study) as server:
        writer = sqlite3.connect(study.votes, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        reply = ask(server, "POST", "/api/consent", token, {"agreed": True})
        assert (reply.status, reply.json) == (503, {"problem": "cannot save at the moment"})
        writer.execute("ROLLBACK")
        writer.close()
        assert ask(server, "POST", "/api/consent", token, {"agreed": True}).status == 200
        assert ask(server, "GET", "/api/picture/0/left", token).status == 503


def test_connections_without_a_request_in_time_are_closed(study, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    with forked_server(study) as server:
        silent, begun, slow, later = (socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in "1234")
        begun.sendall(b"GET / HT")
        later.sendall(b"GET /icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert later.recv(1 << 16).startswith(b"HTTP/1.1 200")
        later.sendall(b"GET / HT")
        until = time.monotonic() + 20
        with suppress(OSError):  # each byte comes in time, the whole does not
            while time.monotonic() < until:
                slow.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() < until
        slow.close()
        for connection in (silent, begun, later):
            while connection.recv(1 << 16):
                pass
            connection.close()


def test_a_request_that_is_being_answered_is_not_cut_off(study, monkeypatch, rater):
    token, number = rater
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    vote, body = Votes.vote, json.dumps({"trial": 0, "side": "left", "milliseconds": 9}).encode()
    monkeypatch.setattr(Votes, "vote", lambda *what: time.sleep(0.7) or vote(*what))
    with forked_server(study) as server:
        ask(server, "POST", "/api/consent", token, {"agreed": True})
        head = f"POST /api/vote HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode() + body[:9])
            time.sleep(0.7)
            connection.sendall(body[9:])
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
    assert stored(study, number) == [(0, "left")]
