"""The store as a state machine: rows, kills at any system call, full disks, several writers, damage, repair, reading.

The model is a set: the subjects whose rows a writer said to have written. Hypothesis draws sequences of rules, and a
failure prints the sequence as a program, and the line `@reproduce_failure` that replays it.
"""

import itertools
import os
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from fixtures import dying_process
from fixtures.shards import arrays_of, fill, ids
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs.run.lock import driving
from rodin.store.errors import StoreError
from rodin.store.repair import damage_of, damaged, remove_leftovers, set_aside
from rodin.store.run_folder import RunFolder
from rodin.store.shards import attempt as attempts
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

SHAPES = {"planes": (3, 1, 4, 4), "base": (3, 1, 2, 2)}
SUBJECTS, FAILED = ids(5), "000003"
MOST_CALLS = 60  # system calls after which a process may die: one that finishes a shard makes about 40
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where thousands of fsyncs cost nothing
DISTURBED = "another attempt has taken this shard over"


def writer_of(home: Path, failed: bool, label: str = "whole") -> ShardWriter:
    """A new attempt at the shard."""
    writer = ShardWriter(home, 0, "planes", SUBJECTS, SHAPES, attempt=label)
    if failed and not writer.complete:
        writer.fail(FAILED, "no views")
    return writer


@cache
def whole_files(failed: bool) -> dict[str, bytes]:
    """The shard and its manifest as an undisturbed writer makes them."""
    home = Path(mkdtemp(dir=MEMORY))
    with writer_of(home, failed) as writer:
        fill(writer)
        writer.publish()
    found = {path.name: path.read_bytes() for path in home.iterdir()}
    shutil.rmtree(home)
    return found


class Store(RuleBasedStateMachine):
    """One shard of a run."""

    sequences = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.run = RunFolder(Path(mkdtemp(dir=MEMORY)))
        self.home = self.run.stage("fit")
        self.home.mkdir()
        self.manifest = self.home / "00000.json"
        self.rows: set[str] = set()
        self.writers: dict[str, ShardWriter] = {}
        self.broken = False
        self.labels = itertools.count()

    @initialize(failed=st.booleans())
    def begin(self, failed: bool) -> None:
        self.failed = failed

    def recoverable(self) -> set[str]:
        """The subjects whose rows the next attempt finds."""
        return {one for source in attempts.sources(self.home, 0) for one in attempts.intact_subjects(source)}

    @rule(count=st.integers(0, 5), at=st.none() | st.integers(0, MOST_CALLS), full=st.booleans())
    def attempt(self, count: int, at: int | None, full: bool) -> None:
        """A process adds some rows and publishes if none is missing; it may die or find the disk full on the way."""

        label = f"a{next(self.labels):02d}"

        def action(say: dying_process.Saying) -> None:
            with writer_of(self.home, self.failed, label) as writer:
                for subject in writer.missing()[:count]:
                    fill(writer, 1)
                    say(f"row {subject}")
                if not writer.missing():
                    writer.publish()
                    say("published")

        ended, said = dying_process.run(action, at, full)
        self.rows |= {line.split()[1] for line in said if line.startswith("row ")}
        assert self.manifest.exists() or "published" not in said
        for line in said:
            if line.startswith("error"):
                assert line.startswith(("error StoreError", "error Unwritable")), line
                assert "no space left" in line or self.broken, line
        assert ended or not full

    @precondition(lambda self: len(self.writers) < 2)
    @rule()
    def open_writer(self) -> None:
        """Another writer starts and stays, as an orphan of a lost node does."""
        label = f"w{next(self.labels):02d}"
        with suppress(StoreError if self.broken else ()):
            self.writers[label] = writer_of(self.home, self.failed, label)

    @precondition(lambda self: self.writers)
    @rule(which=st.integers(0, 1), count=st.integers(1, 3))
    def add_rows(self, which: int, count: int) -> None:
        """One of the open writers adds rows; they count unless a later attempt has removed its files."""
        label = list(self.writers)[which % len(self.writers)]
        writer = self.writers[label]
        for subject in writer.missing()[:count]:
            fill(writer, 1)
            if any(self.home.glob(f".00000.{label}-*.jsonl")):
                self.rows.add(subject)

    @precondition(lambda self: self.writers)
    @rule(which=st.integers(0, 1), publish=st.booleans())
    def end_writer(self, which: int, publish: bool) -> None:
        """One of the open writers ends, with or without publishing."""
        label = list(self.writers)[which % len(self.writers)]
        with self.writers.pop(label) as writer:
            if not publish:
                return
            complete = not writer.missing()
            try:
                writer.publish()
            except StoreError as problem:
                line = str(problem)
            else:
                line = ""
        assert line or complete
        assert not line or self.broken or DISTURBED in line or "neither written nor failed" in line

    @precondition(lambda self: not self.broken and not self.writers)
    @rule(which=st.integers(0, 20), place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
    def damage(self, which: int, place: float, change: int) -> None:
        """A byte of any file changes; not under a living writer, which would not know of it."""
        paths = sorted(path for path in self.home.iterdir() if path.stat().st_size)  # labels are in order
        if not paths:
            return
        path = paths[which % len(paths)]
        before, known = self.recoverable(), path.read_bytes()
        byte = int(place * len(known))
        path.write_bytes(known[:byte] + bytes([known[byte] ^ change]) + known[byte + 1 :])
        if path.name.endswith(".json.damaged"):
            return
        lost = before - self.recoverable()
        if path == self.manifest:
            assert not lost
        elif path.suffix == ".jsonl" and b"\n" in known[:byte]:
            assert len(lost) <= 2, "a line, and the next one if the newline between them changed"
        elif path.suffix == ".h5" and path.name.startswith("."):
            assert len(lost) <= 1
        self.broken = True
        self.rows -= lost
        if self.manifest.exists() and not path.name.startswith("."):
            found = damage_of(self.manifest)
            assert found is not None
            assert found.problems

    @rule()
    def repair(self) -> None:
        """Damage is set aside and leftovers of killed attempts go."""
        if self.writers:  # `rodin store repair` takes the lock of the run
            return
        found = damaged(self.run)
        assert self.broken or not found
        set_aside(found)
        remove_leftovers(self.run)
        if self.manifest.exists():
            assert damage_of(self.manifest) is None
        self.broken = False

    @rule(subject=st.sampled_from(SUBJECTS), field=st.sampled_from(sorted(SHAPES)))
    def read(self, subject: str, field: str) -> None:
        """A reader gets the row that was written, or one line of an error; never anything else."""
        gone = not self.manifest.exists() or (self.failed and subject == FAILED)
        try:
            found: bytes | str = Shards(self.home, "planes").read(subject, field).tobytes()
        except StoreError as problem:
            found = str(problem)
        if isinstance(found, str):
            assert gone or self.broken, found
            assert "\n" not in found
        else:
            assert not gone
            assert found == arrays_of(subject, SHAPES)[field].tobytes()

    @rule()
    def drive_twice(self) -> None:
        """Of two commands that drive a run the second is refused."""
        with driving(self.run), pytest.raises(ValueError, match="is being run by process"), driving(self.run):
            pass

    @invariant()
    def nothing_is_lost(self) -> None:
        """A manifest stands for a whole shard; until there is one, the next attempt finds every row."""
        if self.manifest.exists():
            assert self.broken or damage_of(self.manifest) is None
        else:
            lost = self.rows - self.recoverable()
            assert not lost, f"rows that a writer said to have written are lost: {sorted(lost)}"

    def teardown(self) -> None:
        """Whatever happened: after a repair the next attempt ends with the bytes of an undisturbed one."""
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()
        if hasattr(self, "failed"):
            self.repair()
            with writer_of(self.home, self.failed) as writer:
                fill(writer)
                writer.publish()
            left = {path.name: path.read_bytes() for path in self.home.iterdir()}
            left.pop("00000.json.damaged", None)
            remaining = {name for name in left if name.startswith(".")}
            assert not remaining or self.rows
            assert {name: left[name] for name in left if name not in remaining} == whole_files(self.failed)
        shutil.rmtree(self.run.path)
        next(Store.sequences)


def explore(sequences: int) -> int:
    """Run so many sequences; returns how many ran."""
    before = next(Store.sequences)
    run_state_machine_as_test(
        Store,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=10,
            deadline=None,
            database=None,
            derandomize=True,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return next(Store.sequences) - before - 1


def test_forty_sequences() -> None:
    assert explore(40) >= 40


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_thousand_sequences() -> None:
    ran = explore(5000)
    print(f"{ran} sequences")
    assert ran >= 5000
