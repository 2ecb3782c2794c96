"""Three programs vote at once while the server is killed -9 twice: every acknowledged vote is there once."""

import http.client
import threading
import time

from fixtures.small_study import Server, ask, make_study, stored, vote

from analysis.study.votes import Votes


class Client(threading.Thread):
    """A rater's program: answers everything, sends again what was not acknowledged, and notes what was."""

    def __init__(self, server, token, total, sides):
        super().__init__(daemon=True)
        self.server, self.token, self.total, self.sides = server, token, total, sides
        self.acknowledged = []

    def run(self):
        self.send("/api/consent", {"agreed": True})
        for trial in range(self.total):
            side = self.sides[trial % len(self.sides)]
            reply = self.send("/api/vote", vote(trial, side))
            assert reply.status == 200, reply.data
            self.acknowledged.append((trial, side))
            time.sleep(0.12)

    def send(self, path, body):
        while True:
            try:
                reply = ask(self.server, "POST", path, self.token, body)
                if reply.status not in (429, 503):
                    return reply
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)


def test_three_raters_at_once_lose_no_acknowledged_vote_when_the_server_is_killed_twice(tmp_path):
    study = make_study(tmp_path, 8, trials=20, catch=2, repeats=2)
    votes = Votes(study.votes)
    tokens, total = votes.invite(study, 3), study.design.asked
    votes.close()
    server = Server(study)
    clients = [Client(server, token, total, sides) for token, sides in zip(tokens, ("lr", "rrl", "l"), strict=True)]
    for client in clients:
        client.sides = [{"l": "left", "r": "right"}[letter] for letter in client.sides]
        client.start()
    try:
        for part in (total // 3, 2 * total // 3):
            while min(len(client.acknowledged) for client in clients) < part:
                time.sleep(0.02)
            server.kill()
            before = [list(client.acknowledged) for client in clients]
            for number, acknowledged in enumerate(before):
                assert acknowledged == stored(study, number)[: len(acknowledged)]
            server.start()
        for client in clients:
            client.join(120)
            assert not client.is_alive()
    finally:
        server.kill()
    for number, client in enumerate(clients):
        assert stored(study, number) == client.acknowledged
        assert len(client.acknowledged) == total
