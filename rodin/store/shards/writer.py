"""Writer of a shard: many subjects in one HDF5 file; it may be killed at any moment and started again.

Each writer fills its own temporary file, copies the intact rows that earlier attempts left, and publishes the file and
then its manifest. The manifest's presence is the only "done".
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rodin.store import manifest
from rodin.store.atomic import fsync_file, fsync_folder, make_folder, put_in_place
from rodin.store.errors import StoreError, check_space, disk_error
from rodin.store.shards import attempt as attempts
from rodin.store.shards import finishing, layout, schema
from rodin.store.shards.background_sync import BackgroundSync
from rodin.store.shards.row_checks import as_field, finite_checksum
from rodin.store.shards.rowfile import text_checksum, write_row


class ShardWriter:
    """Writer of one shard: `add` or `fail` each subject of `missing()`, then `publish`.

    Args:
        folder: the stage's folder; made if missing.
        shard: shard number.
        kind: kind of shard, a key of `schema.KINDS`.
        subjects: ids of the shard's subjects, in row order.
        shapes: field -> one subject's shape.
        attributes: plain values that hold for the whole shard, such as the views' resolution.
        attempt: label of this attempt (job, task, restart); part of the temporary name only.
        beside: another writer will `take_over` the rows of this one, which begins with none.

    Raises:
        StoreError: shapes or ids do not fit, too little space is free, or another shard is published under this number.

    Example:
        >>> with ShardWriter(folder.stage("fit"), 0, "planes", subjects, shapes) as writer:
        ...     for subject in writer.missing():
        ...         writer.add(subject, planes=planes, base=base, meta={"psnr": 24.1})
        ...     writer.publish()
    """

    def __init__(
        self,
        folder: Path,
        shard: int,
        kind: str,
        subjects: Sequence[str],
        shapes: Mapping[str, tuple[int, ...]],
        attributes: Mapping[str, Any] | None = None,
        attempt: str | None = None,
        beside: bool = False,
    ) -> None:
        self.folder, self.shard, self.kind = Path(folder), shard, kind
        self.subjects = list(subjects)
        self.shapes = {name: tuple(int(size) for size in shape) for name, shape in shapes.items()}
        self.attributes, self.beside = dict(attributes or {}), beside
        self.done: dict[str, attempts.FinishedRow] = {}
        self.failed: dict[str, str] = {}
        self.complete = False
        self._row = {subject: row for row, subject in enumerate(self.subjects)}
        self._handle, self._journal = -1, -1
        self._io_thread, self._sync = ThreadPoolExecutor(1), BackgroundSync([])
        schema.check_shapes(kind, self.shapes)
        schema.check_subjects(self.subjects)
        manifest.canonical(self.attributes)
        make_folder(self.folder)
        if manifest.complete(self._manifest_path):
            self._accept_complete()
        else:
            self._temporary = self.folder / f"{attempts.new_name(shard, attempt)}.h5"
            self._start()

    @property
    def path(self) -> Path:
        """Final path of the shard's HDF5 file."""
        return self.folder / f"{self.shard:05d}.h5"

    @property
    def _manifest_path(self) -> Path:
        return self.folder / f"{self.shard:05d}.json"

    def missing(self) -> list[str]:
        """Subjects neither written nor failed, in row order."""
        return [] if self.complete else [one for one in self.subjects if not (one in self.done or one in self.failed)]

    def add(self, subject: str, meta: Mapping[str, Any] | None = None, **arrays: np.ndarray) -> None:
        """Write one subject's row; once this returns, killing the process does not lose it.

        Args:
            subject: one of the shard's ids, not yet written.
            meta: plain values stored with the row.
            arrays: field -> array of the field's shape; floats are cast to the field's type and must be finite.

        Raises:
            StoreError: unknown or written subject, wrong fields, shape or type, NaN or infinity, or the disk refuses.
        """
        self._check_open(subject)
        if set(arrays) != set(self.shapes):
            raise StoreError(
                f"{self.path}, subject {subject}: got fields {sorted(arrays)}, wanted {sorted(self.shapes)}"
            )
        kinds = schema.KINDS[self.kind]
        converted = {
            name: as_field(self._where(subject, name), array, self.shapes[name], kinds[name].dtype)
            for name, array in arrays.items()
        }
        self._write(subject, manifest.canonical(dict(meta or {})), converted)

    def fail(self, subject: str, reason: str) -> None:
        """Mark a subject as failed: it gets no row, and the manifest lists it with the reason."""
        self._check_open(subject)
        self.failed[subject] = " ".join(str(reason).split())

    def publish(self) -> None:
        """Read the file back and check it, rename it to its final name, then publish the manifest.

        Raises:
            StoreError: a subject is missing, the file reads back differently, the disk refuses, or another attempt has
                taken the shard over.
        """
        if self.complete:
            return
        if missing := self.missing():
            raise StoreError(
                f"{self.path}: {len(missing)} of {len(self.subjects)} subjects neither written nor failed, "
                f"first {missing[0]}; run the same command again"
            )
        try:
            if manifest.complete(self._manifest_path):
                self._accept_complete()
            else:
                self._publish()
            self._clear()
        except FileNotFoundError as problem:
            raise self._taken_over() from problem
        except OSError as problem:
            raise disk_error(self.path, problem, self._size()) from problem

    def take_over(self) -> None:
        """Copy the intact rows that writers beside this one, by now closed, have finished."""
        for source in attempts.sources(self.folder, self.shard):
            self._adopt(source)

    def close(self) -> None:
        """Close the files; what is written stays for the next attempt."""
        self._io_thread.shutdown()
        self._sync.close()
        for handle in (self._handle, self._journal):
            if handle >= 0:
                os.close(handle)
        self._handle = self._journal = -1

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept_complete(self) -> None:
        """Accept the published shard as done if kind and subjects are the same."""
        known = manifest.read(self._manifest_path)
        published = [*known.get("subjects", []), *known.get("failed", {})]
        if known.get("kind") != self.kind or sorted(published) != sorted(self.subjects):
            raise StoreError(
                f"{self._manifest_path}: holds {len(published)} subjects of kind {known.get('kind')}, wanted "
                f"{len(self.subjects)} of kind {self.kind}; use another run folder or move this shard elsewhere"
            )
        self.complete = True

    def _size(self) -> int:
        """Bytes of all rows."""
        return schema.row_bytes(self.kind, self.shapes) * len(self.subjects)

    def _start(self) -> None:
        """Make this attempt's files and copy the rows that earlier attempts finished."""
        check_space(self.path, self._size())
        try:
            earlier = [] if self.beside else attempts.sources(self.folder, self.shard)
            self._rows = layout.create(self._temporary, self.kind, len(self.subjects), self.shapes)
            self._handle = os.open(self._temporary, os.O_RDWR | os.O_CLOEXEC)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._journal = os.open(self._temporary.with_suffix(".jsonl"), flags, 0o666)
            self._sync = BackgroundSync([self._handle, self._journal])
            fsync_folder(self.folder)  # a power cut must not take the names of files whose rows are on disk
            self._write_line(attempts.header(self.kind, self._rows))
            for source in earlier:
                self._adopt(source)
            superseded = self._superseded(earlier)
        except FileNotFoundError as problem:
            raise self._taken_over() from problem
        except OSError as problem:
            self._discard()
            raise disk_error(self.path, problem, self._size()) from problem
        except StoreError:
            self._discard()
            raise
        for path in superseded:
            path.unlink(missing_ok=True)
            path.with_suffix(".jsonl").unlink(missing_ok=True)

    def _adopt(self, source: attempts.RowSource) -> None:
        """Copy the intact rows of an earlier attempt that are still missing here."""
        wanted = {name: (rows.dtype, rows.shape) for name, rows in self._rows.items()}
        if source.kind != self.kind or {name: (rows.dtype, rows.shape) for name, rows in source.rows.items()} != wanted:
            return
        missing = {subject for subject in self._row if subject not in self.done}
        for finished, arrays in attempts.intact_rows(source, missing):
            self._write(finished.subject, finished.meta, arrays)

    def _superseded(self, earlier: list[attempts.RowSource]) -> list[Path]:
        """Earlier attempts whose rows are now on disk here; not the newest one, which may still be running."""
        superseded = [
            source.path
            for source in earlier[1:]
            if source.path != self.path and all(finished.subject in self.done for finished in source.finished)
        ]
        if superseded:
            self._sync.now()
        return superseded

    def _check_open(self, subject: str) -> None:
        if subject not in self._row:
            raise StoreError(f"{self.path}: {subject!r} is not one of this shard's {len(self.subjects)} subjects")
        if self.complete or subject in self.done or subject in self.failed or self._handle < 0:
            raise StoreError(
                f"{self.path}: subject {subject} is already written or the shard is closed; loop over missing()"
            )

    def _where(self, subject: str, name: str) -> str:
        return f"{self.path}, subject {subject}, field {name!r}"

    def _write(self, subject: str, meta: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the row, taking its checksums meanwhile; then its journal line, which makes the row count."""
        row = self._row[subject]
        try:
            writing = self._io_thread.submit(self._put, row, arrays)
            try:
                checksums = {
                    name: finite_checksum(self._where(subject, name), array, self._rows[name].split)
                    for name, array in arrays.items()
                }
            finally:
                writing.result()
            checksums["meta"] = text_checksum(subject, meta)
            self._write_line({"subject": subject, "row": row, "checksums": checksums, "meta": meta})
            self._sync.wrote(sum(array.nbytes for array in arrays.values()))
        except OSError as problem:
            raise disk_error(self.path, problem, self._size()) from problem
        self.done[subject] = attempts.FinishedRow(subject, row, checksums, meta)

    def _put(self, row: int, arrays: Mapping[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            write_row(self._handle, self._rows[name], row, array)

    def _write_line(self, content: dict[str, Any]) -> None:
        data = memoryview(attempts.line(content))
        while data:
            data = data[os.write(self._journal, data) :]

    def _publish(self) -> None:
        self._sync.wait()
        ready, rows = self._temporary, self._rows
        finished = [self.done[subject] for subject in self.subjects if subject in self.done]
        if self.failed:
            ready = self._temporary.with_suffix(".packed")
            rows = finishing.pack(self._handle, self._rows, [one.row for one in finished], ready, self.kind)
        content = finishing.content_of(self.kind, rows, finished, self.attributes)
        layout.add_index(ready, content)
        syncing = self._io_thread.submit(fsync_file, ready)  # the disk works while the file is read back from memory
        digest = finishing.check(ready, content)
        syncing.result()
        put_in_place(ready, self.path)
        manifest.publish(self._manifest_path, finishing.describe(self.path, content, self.failed, digest))
        self.complete = True

    def _clear(self) -> None:
        """Remove the files of all attempts, since the shard is published."""
        self.close()
        for leftover in attempts.leftovers(self.folder, self.shard):
            leftover.unlink(missing_ok=True)
        fsync_folder(self.folder)

    def _taken_over(self) -> StoreError:
        """Error for files that vanished: only an attempt that has our rows or has published the shard removes them."""
        self._discard()
        return StoreError(f"{self.path}: another attempt has taken this shard over; leave it to that one")

    def _discard(self) -> None:
        """Close and remove this attempt's files, which hold nothing that another attempt needs."""
        self.close()
        with suppress(OSError):
            for suffix in (".h5", ".jsonl", ".packed"):
                self._temporary.with_suffix(suffix).unlink(missing_ok=True)
