"""The database of votes: tokens, order of trials, replays, and what a second process sees."""

import json
import shutil
import sqlite3

import pytest
from fixtures.ordinary_user import give_back, protect, rodin
from fixtures.small_study import make_study

from analysis.study.design import rater_trials
from analysis.study.votes import Refused, Votes, hashed, read_answers
from rodin.store.errors import StoreError


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def votes(tmp_path):
    return Votes(tmp_path / "votes.sqlite")


def test_tokens_are_unguessable_found_by_their_hash_and_stored_nowhere(study, votes):
    tokens = votes.invite(study, 3) + votes.invite(study, 2)
    assert [votes.rater_of(token) for token in tokens] == [0, 1, 2, 3, 4]
    assert len({*tokens}) == 5
    assert all(len(token) >= 32 for token in tokens)
    assert votes.rater_of(hashed(tokens[0])) is None
    assert votes.rater_of("") is None
    votes.close()
    stored = votes.path.read_bytes()
    assert hashed(tokens[4]).encode() in stored
    assert not any(token.encode() in stored for token in tokens)


def test_the_trials_of_a_rater_are_those_of_the_design(study, votes):
    votes.invite(study, 2)
    for rater in range(2):
        wanted = rater_trials(study.design, rater)
        assert votes.place(rater).total == len(wanted) == study.design.asked
        assert [votes.trial(rater, number) for number in range(len(wanted))] == wanted
        assert votes.trial(rater, len(wanted)) is None
    assert votes.trial(2, 0) is None


def test_votes_come_in_order_once_and_after_consent(study, votes):
    votes.invite(study, 2)
    with pytest.raises(Refused, match="before agreeing"):
        votes.vote(0, 0, "left", 900)
    votes.consent(0)
    with pytest.raises(Refused, match="not the next"):
        votes.vote(0, 1, "left", 900)
    assert votes.vote(0, 0, "left", 900)
    assert not votes.vote(0, 0, "left", 1234)
    with pytest.raises(Refused, match="answers are final"):
        votes.vote(0, 0, "right", 900)
    assert votes.vote(0, 1, "right", 700)
    assert (votes.place(0).done, votes.place(1).done) == (2, 0)
    found = [(one.rater, one.number, one.side, one.milliseconds, one.chosen) for one in votes.answers()]
    first, second = rater_trials(study.design, 0)[:2]
    assert found == [(0, 0, "left", 900, first.left), (0, 1, "right", 700, second.right)]


def test_nothing_can_be_answered_after_the_last_trial(study, votes):
    votes.invite(study, 1)
    votes.consent(0)
    for number in range(study.design.asked):
        assert votes.vote(0, number, "left", 500)
    with pytest.raises(Refused, match="not the next"):
        votes.vote(0, study.design.asked, "left", 500)
    assert len(votes.answers()) == study.design.asked


def test_the_tables_themselves_refuse_a_second_vote_and_a_foreign_side(study, votes):
    votes.invite(study, 1)
    votes.consent(0)
    votes.vote(0, 0, "left", 500)
    for values in ((0, 0, "right", 1), (0, 1, "middle", 1), (0, 99, "left", 1)):
        with pytest.raises(sqlite3.IntegrityError):
            votes.database.execute("INSERT INTO votes VALUES (?, ?, ?, ?)", values)


def test_another_process_sees_a_vote_at_once_and_the_disk_is_synced_at_each(study, votes):
    votes.invite(study, 1)
    votes.consent(0)
    other = Votes(votes.path)
    votes.vote(0, 0, "left", 500)
    assert len(other.answers()) == 1
    assert votes.database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert votes.database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    with pytest.raises(Refused):
        other.vote(0, 0, "right", 500)
    assert other.vote(0, 1, "right", 500)


def test_a_failed_transaction_leaves_nothing(study, votes, monkeypatch):
    from analysis.study import votes as module

    monkeypatch.setattr(module, "rater_trials", lambda design, rater: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        votes.invite(study, 1)
    assert votes.raters() == 0
    monkeypatch.undo()
    assert len(votes.invite(study, 1)) == 1


def test_bad_files_and_too_many_raters_are_one_line(study, votes, tmp_path):
    with pytest.raises(ValueError, match="wanted at most 10000 in all"):
        votes.invite(study, 10_001)
    (tmp_path / "text.sqlite").write_text("not a database, " * 100)
    with pytest.raises(StoreError, match="cannot be opened as a database"):
        Votes(tmp_path / "text.sqlite")
    with pytest.raises(StoreError, match="cannot be read as a database"):
        read_answers(tmp_path / "text.sqlite")
    votes.database.execute("PRAGMA user_version = 7")
    with pytest.raises(StoreError, match="tables of version 7, wanted 1"):
        read_answers(votes.path)
    with pytest.raises(StoreError, match="tables of version 7, wanted 1"):
        Votes(votes.path)


def test_votes_are_read_beside_a_server_and_nothing_is_written(study, tmp_path):
    votes = Votes(tmp_path / "a # ? 100%.sqlite")
    votes.invite(study, 1)
    votes.consent(0)
    votes.vote(0, 0, "left", 500)
    assert read_answers(votes.path) == votes.answers() != []  # its vote is in the log alone
    votes.close()
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert len(read_answers(votes.path)) == 1
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before
    (tmp_path / "empty.sqlite").write_bytes(b"")
    assert read_answers(tmp_path / "empty.sqlite") == []


@pytest.mark.parametrize("ended", [True, False])
def test_a_study_that_may_only_be_read_is_counted(ended, tmp_path):
    """Also one whose server was killed, so that the last votes are in its log."""
    opened = make_study(tmp_path / "made")
    votes = Votes(opened.votes)
    votes.invite(opened, 1)
    votes.consent(0)
    for number in range(opened.design.asked):
        votes.vote(0, number, "left", 500)
    if ended:
        votes.close()
    theirs = tmp_path / "theirs"
    shutil.copytree(opened.path, theirs)
    assert (theirs / "votes.sqlite-wal").exists() is not ended
    protect(theirs)
    try:
        done = rodin("study", "tally", theirs, "--output", tmp_path / "mine", "--catch-pass", "0", "--json")
    finally:
        give_back(theirs)
        votes.close()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["raters"] == 1
