"""Raters, their trials and their votes in one SQLite file: what is acknowledged is on disk, once.

The write-ahead log with `synchronous=FULL` syncs the disk at each commit, and each vote is one transaction. Nothing
that points to a person is stored: no name, address, browser or time of day.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.study.design import Trial, rater_trials
from analysis.study.record import Study
from rodin.store.errors import StoreError

LEFT, RIGHT = "left", "right"
TOKEN_BYTES = 24  # random bytes of a rater's link: 192 bits, nobody guesses one
WAIT_SECONDS = 10.0  # for another process that is writing, such as `rodin study invite` beside the server
MOST_RATERS = 10_000  # of one study
VERSION = 1  # of the tables, as SQLite's user_version
SCHEMA = f"""
CREATE TABLE raters (
    rater INTEGER PRIMARY KEY, token_sha256 TEXT NOT NULL UNIQUE, consented INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE trials (
    rater INTEGER NOT NULL REFERENCES raters, trial INTEGER NOT NULL, kind TEXT NOT NULL, item TEXT NOT NULL,
    left_method TEXT NOT NULL, right_method TEXT NOT NULL, repeats INTEGER, PRIMARY KEY (rater, trial)
) STRICT, WITHOUT ROWID;
CREATE TABLE votes (
    rater INTEGER NOT NULL, trial INTEGER NOT NULL, side TEXT NOT NULL CHECK (side IN ('{LEFT}', '{RIGHT}')),
    milliseconds INTEGER NOT NULL, PRIMARY KEY (rater, trial),
    FOREIGN KEY (rater, trial) REFERENCES trials
) STRICT, WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
ANSWERS = (
    "SELECT rater, trial, kind, item, left_method, right_method, repeats, side, milliseconds "
    "FROM votes JOIN trials USING (rater, trial) ORDER BY rater, trial"
)


class Refused(Exception):
    """A vote or a question that is not accepted; nothing was stored."""


@dataclass(frozen=True)
class Place:
    """Where a rater is.

    Args:
        consented: whether the rater has agreed to take part.
        done: votes so far; also the number of the next trial.
        total: trials in all.
    """

    consented: bool
    done: int
    total: int


@dataclass(frozen=True)
class Answer:
    """One trial, and how it was answered.

    Args:
        rater: number.
        number: of the trial.
        trial: what was asked.
        side: left or right.
        milliseconds: from the moment both pictures were shown.
    """

    rater: int
    number: int
    trial: Trial
    side: str
    milliseconds: int

    @property
    def chosen(self) -> str:
        """The method that was preferred."""
        return self.trial.left if self.side == LEFT else self.trial.right


class Votes:
    """The database of one study; safe to use from several threads and processes.

    Args:
        path: the file; made if absent.

    Raises:
        StoreError: the file is damaged, of another version, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        try:
            self.database = sqlite3.connect(path, WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = FULL")
            self.database.execute("PRAGMA foreign_keys = ON")
            with self._transaction() as cursor:
                (version,) = cursor.execute("PRAGMA user_version").fetchone()
                for statement in SCHEMA.split(";") if version == 0 else ():
                    cursor.execute(statement)
        except sqlite3.Error as problem:
            raise StoreError(f"{path}: cannot be opened as a database of votes ({problem})") from None
        check_version(path, version)

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def invite(self, study: Study, count: int) -> list[str]:
        """Add raters with their trials, and return their tokens, which are stored only as hashes.

        Raises:
            ValueError: more raters than a study may have.
        """
        tokens = [secrets.token_urlsafe(TOKEN_BYTES) for _ in range(count)]
        with self._transaction() as cursor:
            (first,) = cursor.execute("SELECT COUNT(*) FROM raters").fetchone()
            if first + count > MOST_RATERS:
                raise ValueError(f"--raters got {count}, and there are {first}; wanted at most {MOST_RATERS} in all")
            for rater, token in enumerate(tokens, start=first):
                cursor.execute("INSERT INTO raters (rater, token_sha256) VALUES (?, ?)", (rater, hashed(token)))
                cursor.executemany(
                    "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (rater, number, trial.kind, trial.item, trial.left, trial.right, trial.repeats)
                        for number, trial in enumerate(rater_trials(study.design, rater))
                    ],
                )
        return tokens

    def rater_of(self, token: str) -> int | None:
        """The rater with a token; None for an unknown one."""
        found = self._rows("SELECT rater FROM raters WHERE token_sha256 = ?", (hashed(token),))
        return found[0][0] if found else None

    def raters(self) -> int:
        """Number of raters invited."""
        return self._rows("SELECT COUNT(*) FROM raters")[0][0]

    def place(self, rater: int) -> Place:
        """Where a rater is."""
        (row,) = self._rows(
            "SELECT consented, (SELECT COUNT(*) FROM votes WHERE rater = ?1), "
            "(SELECT COUNT(*) FROM trials WHERE rater = ?1) FROM raters WHERE rater = ?1",
            (rater,),
        )
        return Place(bool(row[0]), row[1], row[2])

    def trial(self, rater: int, number: int) -> Trial | None:
        """One of a rater's trials; None if there is no such."""
        found = self._rows(
            "SELECT kind, item, left_method, right_method, repeats FROM trials WHERE rater = ? AND trial = ?",
            (rater, number),
        )
        return Trial(*found[0]) if found else None

    def consent(self, rater: int) -> None:
        """Keep that a rater agreed to take part."""
        with self._transaction() as cursor:
            cursor.execute("UPDATE raters SET consented = 1 WHERE rater = ?", (rater,))

    def vote(self, rater: int, trial: int, side: str, milliseconds: int) -> bool:
        """Store a vote; when this returns, it is on disk.

        Args:
            rater: number.
            trial: its number; trials are answered in order.
            side: left or right.
            milliseconds: from the moment both pictures were shown.

        Returns:
            False if the very same vote was there already; its time is then not changed.

        Raises:
            Refused: the rater has not agreed to take part, the trial was answered otherwise, or is not the next one.
        """
        with self._transaction() as cursor:
            (consented,) = cursor.execute("SELECT consented FROM raters WHERE rater = ?", (rater,)).fetchone()
            if not consented:
                raise Refused("nothing can be answered before agreeing to take part")
            earlier = cursor.execute("SELECT side FROM votes WHERE rater = ? AND trial = ?", (rater, trial)).fetchone()
            if earlier is not None:
                if earlier[0] != side:
                    raise Refused("this pair was answered already, and answers are final")
                return False
            (done,) = cursor.execute("SELECT COUNT(*) FROM votes WHERE rater = ?", (rater,)).fetchone()
            (total,) = cursor.execute("SELECT COUNT(*) FROM trials WHERE rater = ?", (rater,)).fetchone()
            if trial != done or trial >= total:
                raise Refused("this is not the next pair")
            cursor.execute("INSERT INTO votes VALUES (?, ?, ?, ?)", (rater, trial, side, milliseconds))
        return True

    def answers(self) -> list[Answer]:
        """All votes with what was asked, by rater and in order."""
        return [answer_of(row) for row in self._rows(ANSWERS)]

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple]:
        with self.lock:
            return self.database.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """One transaction: committed at the end, rolled back after any error."""
        with self.lock:
            cursor = self.database.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    cursor.execute("ROLLBACK")
                raise


def read_answers(path: Path) -> list[Answer]:
    """All votes of a file that may only be read, as `Votes.answers`; nothing is written to it or beside it.

    Raises:
        StoreError: the file is damaged, or of another version.
    """
    log = path.with_name(f"{path.name}-wal")  # votes of a server that runs, or was killed; without it nobody writes
    how = "mode=ro" if log.is_file() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", WAIT_SECONDS, uri=True)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            check_version(path, version)
            return [answer_of(row) for row in database.execute(ANSWERS)] if version else []
    except sqlite3.Error as problem:
        raise StoreError(f"{path}: cannot be read as a database of votes ({problem})") from None


def check_version(path: Path, version: int) -> None:
    """Refuse tables of another version; 0: there are none yet.

    Raises:
        StoreError: names both versions.
    """
    if version not in (0, VERSION):
        raise StoreError(f"{path}: tables of version {version}, wanted {VERSION}; use the rodin that wrote them")


def answer_of(row: Sequence[Any]) -> Answer:
    """One answer, of a row of `ANSWERS`."""
    return Answer(row[0], row[1], Trial(*row[2:7]), row[7], row[8])


def hashed(token: str) -> str:
    """SHA-256 of a token, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()
