"""Reader of a folder's shards: by subject, one system call a row, every row checked against its checksum."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from xxhash import xxh3_64_hexdigest

from rodin.hooks import Progress
from rodin.store import manifest
from rodin.store.errors import NO_DESCRIPTORS, OtherVersion, StoreError, read_error
from rodin.store.manifest import next_step
from rodin.store.shards import layout, schema
from rodin.store.shards.catalogue import ShardEntry, catalogue
from rodin.store.shards.checking import check_shard
from rodin.store.shards.layout import RowIndex
from rodin.store.shards.recent import Recent
from rodin.store.shards.rowfile import Handle, RowLayout, checksum, read_row

HANDLES = 64  # files kept open: well under the usual limit of 1024 descriptors a process, with several readers
MANIFESTS = 8  # kept as they were parsed, about 7 kB a person: all of them were 0.7 GB at 100,000 people
INDEXES = 4096  # kept, 3 kB a shard and 8 bytes a view: more than the paper's shards, which trainings read at random
Choice = int | slice | Sequence[int] | None
T = TypeVar("T")


class Shards:
    """The published shards of one folder, read as one store of subjects.

    The subjects are known at once (see `catalogue`); manifests, with what they say of each subject, and shard files are
    read when first needed, and of manifests only the last few are kept. Rows are read by positioned reads from plain
    file descriptors without locks, so threads may share an object and it survives a fork at any moment.

    Args:
        folder: a stage's folder.
        kind: kind of the shards, a key of `schema.KINDS`.
        handles: most files kept open.
        only: numbers of the shards to read; all if not given.

    Raises:
        StoreError: no shard is published there, a manifest is damaged or of another kind, or a subject is in two
            shards.
        Unreadable: the operating system does not let a manifest be read.
        OtherVersion: another version of rodin wrote a shard.
    """

    def __init__(self, folder: Path, kind: str, handles: int = HANDLES, only: Collection[int] | None = None) -> None:
        schema.fields_of(kind)
        self.folder, self.kind, self.handles = Path(folder), kind, max(handles, 1)
        entries = [entry for entry in catalogue(self.folder) if only is None or entry.shard in only]
        for entry in entries:
            self._check(entry)
        if not entries:
            raise StoreError(f"{self.folder}: no finished shard of kind {kind}; run the stage that makes it first")
        self._entries = {entry.shard: entry for entry in entries}
        self._numbers = list(self._entries)
        self._firsts = list(accumulate((len(entry.subjects) for entry in entries), initial=0))
        self._place = {subject: row for row, subject in enumerate(each for one in entries for each in one.subjects)}
        if len(self._place) < self._firsts[-1]:
            self._refuse_twice(entries)
        self.failed = {subject: reason for entry in entries for subject, reason in entry.failed.items()}
        self._manifests: Recent[int, dict[str, Any]] = Recent(MANIFESTS)
        self._indexes: Recent[int, RowIndex] = Recent(INDEXES)
        self._open: Recent[int, Handle] = Recent(self.handles)

    def _check(self, entry: ShardEntry) -> None:
        path = self._path(entry.shard).with_suffix(".json")
        if entry.kind != self.kind:
            raise StoreError(
                f"{path}: a manifest of kind {entry.kind!r}, wanted {self.kind!r}; point at the right folder"
            )
        if entry.version != schema.VERSION:
            raise OtherVersion(f"{path}: {schema.other_version(entry.version)}")

    def _refuse_twice(self, entries: list[ShardEntry]) -> None:
        seen: dict[str, int] = {}
        for entry in entries:
            for subject in entry.subjects:
                if subject in seen:
                    path = self._path(entry.shard).with_suffix(".json")
                    raise StoreError(
                        f"{path}: subject {subject} is also in shard {seen[subject]}; move the one that is of "
                        "another run elsewhere"
                    )
                seen[subject] = entry.shard

    @property
    def subjects(self) -> list[str]:
        """All subjects with a row, sorted."""
        return sorted(self._place)

    @property
    def shards(self) -> list[int]:
        """Numbers of the published shards, sorted."""
        return list(self._numbers)

    def subjects_of(self, shard: int) -> list[str]:
        """Subjects of one shard, in row order."""
        return list(self._entries[shard].subjects)

    def failed_of(self, shard: int) -> dict[str, str]:
        """Failed subjects of one shard -> reason."""
        return dict(self._entries[shard].failed)

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, subject: object) -> bool:
        return subject in self._place

    def __iter__(self) -> Iterator[str]:
        return iter(self.subjects)

    def locate(self, subject: str) -> tuple[int, int]:
        """Shard number and row number of a subject.

        Raises:
            StoreError: the subject failed, or there is none of that id.
        """
        if subject in self._place:
            row = self._place[subject]
            number = bisect_right(self._firsts, row) - 1
            return self._numbers[number], row - self._firsts[number]
        if subject in self.failed:
            raise StoreError(f"{self.folder}: subject {subject} failed ({self.failed[subject]}); it has no row")
        raise StoreError(
            f"{self.folder}: no subject {subject!r} among {len(self)}; finish the stage, or ask for one it has"
        )

    def meta(self, subject: str) -> dict[str, Any]:
        """The plain values stored with a subject's row."""
        return self._manifest(self.locate(subject)[0])["meta"][subject]

    def attributes(self, subject: str | None = None) -> dict[str, Any]:
        """The plain values of a subject's shard; of the first shard if no subject is given."""
        return self._manifest(self._numbers[0] if subject is None else self.locate(subject)[0])["attributes"]

    def fields(self, subject: str | None = None) -> list[str]:
        """Names of the fields of a subject's shard, sorted; of the first shard if no subject is given."""
        return sorted(self._index(self._numbers[0] if subject is None else self.locate(subject)[0]).rows)

    def shape(self, field: str) -> tuple[int, ...]:
        """One subject's shape of a field, in the first shard."""
        return self._rows(self._numbers[0], field).shape

    def checksum(self, subject: str, field: str) -> str:
        """16 hexadecimal digits that differ where two rows of a field do; no row is read."""
        shard, row = self.locate(subject)
        return xxh3_64_hexdigest(self._index(shard).checksums[field][row].tobytes())

    def read(self, subject: str, field: str, rows: Choice = None, out: np.ndarray | None = None) -> np.ndarray:
        """Read one subject's array.

        Args:
            subject: id.
            field: name of the field.
            rows: entries of the first axis to read, e.g. views; a number drops the axis, None reads all.
            out: C-contiguous array of the result's shape and type to read into, instead of a new one.

        Returns:
            an array [...] of the field's shape and type that matches its checksum.

        Raises:
            StoreError: no such subject or field, or the row is damaged; names file, subject and next step.
            Unreadable: the operating system does not let the row be read.
            IndexError: `rows` is out of range.
        """
        shard, row = self.locate(subject)
        entries = self._rows(shard, field)
        if rows is None:
            return self._checked(shard, subject, field, row, (0, entries.shape[0]), out)
        chosen = np.atleast_1d(np.arange(entries.shape[0])[rows if isinstance(rows, (int, slice)) else list(rows)])
        if not entries.split:
            picked = self._checked(shard, subject, field, row, (0, entries.shape[0]))[chosen]
        elif len(chosen) and np.array_equal(chosen, np.arange(chosen[0], chosen[0] + len(chosen))):
            picked = self._checked(shard, subject, field, row, (int(chosen[0]), len(chosen)))
        else:
            picked = np.empty((len(chosen), *entries.shape[1:]), entries.dtype)
            for target, entry in zip(picked, chosen, strict=True):
                self._checked(shard, subject, field, row, (int(entry), 1), target[None])
        if isinstance(rows, int):
            picked = picked[0]
        if out is None:
            return picked
        out[...] = picked
        return out

    def verify(self, progress: Progress | None = None) -> list[str]:
        """Check every published shard against its manifest.

        Args:
            progress: called with shards done, shards in all and the present shard's name.

        Returns:
            one line a problem, each with its next step; empty if all shards are intact.
        """
        problems = [
            f"{path}: has no manifest, so it is not done; run the same command again"
            for path in sorted(self.folder.glob("[0-9]" * 5 + ".h5"))
            if int(path.stem) not in self._entries
        ]
        for number, shard in enumerate(self.shards):
            if progress is not None:
                progress(number, len(self.shards), self._path(shard).name)
            problems += self.verify_shard(shard)
        return problems

    def verify_shard(self, shard: int) -> list[str]:
        """Problems of one shard: manifest, size, every byte of every row and of the frame."""
        return check_shard(self._path(shard))

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.h5"

    def _rows(self, shard: int, field: str) -> RowLayout:
        rows = self._index(shard).rows
        if field not in rows:
            raise StoreError(f"{self._path(shard)}: no field {field!r}; it has {', '.join(sorted(rows))}")
        return rows[field]

    def _checked(
        self, shard: int, subject: str, field: str, row: int, part: tuple[int, int], out: np.ndarray | None = None
    ) -> np.ndarray:
        """Read entries `part` (first, count) of a row by one call and check them against their checksums."""
        rows, path = self._rows(shard, field), self._path(shard)
        first, count = part
        if out is None:
            out = np.empty((count, *rows.shape[1:]), rows.dtype)
        elif out.shape != (count, *rows.shape[1:]) or out.dtype != rows.dtype:
            raise StoreError(
                f"{path}, field {field!r}: rows are {rows.dtype} {list(rows.shape)}, other shards' are {out.dtype} "
                f"{list(out.shape)}; one store holds one size"
            )
        expected = self._index(shard).checksums[field][row]
        handle = self._handle(shard)  # a reference until the read is done, since another thread may evict it
        try:
            whole = read_row(handle.number, rows, row, out, first)
        except OSError as problem:
            raise read_error(path, problem) from problem
        if not whole:
            raise StoreError(f"{path}, subject {subject}, field {field!r}: the file ends too soon; {next_step(path)}")
        if checksum(out, rows.split) != (expected[first : first + count] if rows.split else expected).tolist():
            raise StoreError(
                f"{path}, subject {subject}, field {field!r}: damaged (its checksum does not fit); {next_step(path)}"
            )
        return out

    def _manifest(self, shard: int) -> dict[str, Any]:
        """A shard's manifest.

        Raises:
            StoreError: it has changed since the store was opened.
        """
        return self._manifests.get(shard, lambda: self._read_manifest(shard))

    def _read_manifest(self, shard: int) -> dict[str, Any]:
        path = self._path(shard).with_suffix(".json")
        content = manifest.read(path)
        if (content.get("kind"), content.get("subjects")) != (self.kind, self._entries[shard].subjects):
            raise StoreError(f"{path}: has changed since the store was opened; run the same command again")
        return content

    def _index(self, shard: int) -> RowIndex:
        """Where a shard's rows lie, read from its file and compared with the manifest."""
        path, subjects = self._path(shard), self._entries[shard].subjects
        return self._indexes.get(shard, lambda: self._retry(lambda: layout.row_index(path, self.kind, subjects), path))

    def _handle(self, shard: int) -> Handle:
        """A shard's open file."""
        path = self._path(shard)
        return self._open.get(shard, lambda: self._retry(lambda: Handle(path), path))

    def _retry(self, action: Callable[[], T], path: Path) -> T:
        """Open a file; if the process has no descriptor left, close this store's files and try once more."""
        for last in (False, True):
            try:
                return action()
            except FileNotFoundError:
                raise StoreError(f"{path}: missing though its manifest is there; {next_step(path)}") from None
            except OSError as problem:
                if last or problem.errno not in NO_DESCRIPTORS:
                    raise read_error(path, problem) from problem
                self._open.clear()
        raise AssertionError("unreachable")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": Recent(self.handles)}
