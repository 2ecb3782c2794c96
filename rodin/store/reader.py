"""Reading the shards of a folder: by subject, one read a row, every row held against its checksum."""

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rodin.store import layout, manifest, schema
from rodin.store.errors import NO_HANDLES, StoreError, disk_error
from rodin.store.layout import Content
from rodin.store.manifest import again
from rodin.store.rowfile import Handle, Rows, checksum, read_row

HANDLES = 64
T = TypeVar("T")


class Shards:
    """The published shards of one folder, as one store of subjects.

    Manifests are read at once, shard files when first needed. Rows are read by positioned reads from plain file
    descriptors, so an object may be used by threads and carried over a fork; at most `handles` files stay open.

    Args:
        folder: a stage's folder.
        kind: kind of shard wanted, a key of `schema.KINDS`.
        handles: files kept open.
        only: take this shard alone, as if the others were not there.

    Raises:
        StoreError: no shard is published there, a manifest is damaged, of another kind or of another version, or a
            subject is in two shards.
    """

    def __init__(self, folder: Path, kind: str, handles: int = HANDLES, only: int | None = None) -> None:
        schema.fields_of(kind)
        self.folder, self.kind, self.handles = Path(folder), kind, max(handles, 1)
        self._manifests: dict[int, dict[str, Any]] = {}
        self._place: dict[str, tuple[int, int]] = {}
        self.failed: dict[str, str] = {}
        for path in manifest_paths(self.folder):
            if only is None or int(path.stem) == only:
                self._take(int(path.stem), path)
        if not self._manifests:
            raise StoreError(f"{self.folder}: no finished shard of kind {kind}; run the stage that makes it first")
        self._content: dict[int, Content] = {}
        self._open: OrderedDict[int, Handle] = OrderedDict()
        self._lock = threading.Lock()

    def _take(self, shard: int, path: Path) -> None:
        content = manifest.read(path)
        if content.get("kind") != self.kind:
            raise StoreError(
                f"{path}: a manifest of kind {content.get('kind')!r}, wanted {self.kind!r}; point at the right folder"
            )
        if content.get("version") != schema.VERSION:
            raise StoreError(f"{path}: {schema.other_version(content.get('version'))}")
        self._manifests[shard] = content
        self.failed.update(content["failed"])
        for row, subject in enumerate(content["subjects"]):
            if subject in self._place:
                raise StoreError(
                    f"{path}: subject {subject} is also in shard {self._place[subject][0]}; delete one of the two"
                )
            self._place[subject] = (shard, row)

    @property
    def subjects(self) -> list[str]:
        """All subjects with a row, sorted."""
        return sorted(self._place)

    @property
    def shards(self) -> list[int]:
        """Numbers of the published shards, sorted."""
        return sorted(self._manifests)

    def subjects_of(self, shard: int) -> list[str]:
        """Subjects of one shard, in row order."""
        return list(self._manifests[shard]["subjects"])

    def failed_of(self, shard: int) -> dict[str, str]:
        """Subjects of one shard that were given up, with the reason."""
        return dict(self._manifests[shard]["failed"])

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, subject: object) -> bool:
        return subject in self._place

    def __iter__(self) -> Iterator[str]:
        return iter(self.subjects)

    def place(self, subject: str) -> tuple[int, int]:
        """Shard and row of a subject."""
        if subject in self._place:
            return self._place[subject]
        if subject in self.failed:
            raise StoreError(f"{self.folder}: subject {subject} failed ({self.failed[subject]}); it has no row")
        raise StoreError(
            f"{self.folder}: no subject {subject!r} among {len(self)}; finish the stage, or ask for one it has"
        )

    def meta(self, subject: str) -> dict[str, Any]:
        """The plain values kept with a subject's row."""
        return self._manifests[self.place(subject)[0]]["meta"][subject]

    def attributes(self, subject: str | None = None) -> dict[str, Any]:
        """The plain values of a subject's shard; of the first shard where no subject is given."""
        shard = self.shards[0] if subject is None else self.place(subject)[0]
        return self._manifests[shard]["attributes"]

    def fields(self, subject: str | None = None) -> list[str]:
        """Names of the fields of a subject's shard; of the first shard where no subject is given."""
        return sorted(self._layout(self.shards[0] if subject is None else self.place(subject)[0]).rows)

    def shape(self, field: str) -> tuple[int, ...]:
        """One subject's shape of a field."""
        return self._rows(self.shards[0], field).shape

    def read(self, subject: str, field: str, rows: int | slice | Sequence[int] | None = None) -> np.ndarray:
        """Read one subject's array.

        Args:
            subject: id.
            field: name of the field.
            rows: entries of the first axis to read, e.g. views; a number drops the axis, None reads all.

        Returns:
            a new array [...] of the field's shape and type, its checksum checked.

        Raises:
            StoreError: no such subject or field, or the row is damaged; names file, subject and next step.
        """
        shard, row = self.place(subject)
        place = self._rows(shard, field)
        expected = self._layout(shard).checksums[field][row]
        if rows is None or not place.split:
            whole = self._checked(shard, subject, field, 0, None, expected)
            return (
                whole
                if rows is None
                else np.ascontiguousarray(whole[rows if isinstance(rows, (int, slice)) else list(rows)])
            )
        chosen = np.arange(place.shape[0])[rows if isinstance(rows, (int, slice)) else list(rows)]
        picked = [self._checked(shard, subject, field, int(k), 1, expected[k : k + 1]) for k in np.atleast_1d(chosen)]
        if isinstance(rows, int):
            return picked[0][0]
        return np.concatenate(picked) if picked else np.empty((0, *place.shape[1:]), place.dtype)

    def verify(self, progress: Callable[[int, int, str], None] | None = None) -> list[str]:
        """Hold every published shard against its manifest.

        Args:
            progress: told shards done, shards in all and the present shard's name.

        Returns:
            one line a problem, each with its next step; empty if all is well.
        """
        problems = [
            f"{path}: has no manifest, so it is not done; run the same command again"
            for path in sorted(self.folder.glob("[0-9]" * 5 + ".h5"))
            if int(path.stem) not in self._manifests
        ]
        for number, shard in enumerate(self.shards):
            if progress is not None:
                progress(number, len(self.shards), self._path(shard).name)
            problems += self.verify_shard(shard)
        return problems

    def verify_shard(self, shard: int) -> list[str]:
        """Problems of one shard: manifest, size, SHA-256 and, where that differs, which rows."""
        path, known = self._path(shard), self._manifests[shard]
        try:
            manifest.read(path.with_suffix(".json"))
            if path.stat().st_size == known["bytes"] and manifest.sha256_of(path) == known["sha256"]:
                return []
            self._forget(shard)
            self._layout(shard)
        except FileNotFoundError:
            return [f"{path}: missing though its manifest is there; {again(path)}"]
        except (StoreError, OSError) as problem:
            return [str(problem)]
        problems = []
        for subject in known["subjects"]:
            problems += self._verify_row(subject)
        return problems or [
            f"{path}: its bytes are not those its manifest lists, though every row reads well; {again(path)}"
        ]

    def _verify_row(self, subject: str) -> list[str]:
        problems = []
        for field in self.fields(subject):
            try:
                self.read(subject, field)
            except StoreError as problem:
                problems.append(str(problem))
        return problems

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.h5"

    def _rows(self, shard: int, field: str) -> Rows:
        rows = self._layout(shard).rows
        if field not in rows:
            raise StoreError(f"{self._path(shard)}: no field {field!r}; it has {', '.join(sorted(rows))}")
        return rows[field]

    def _checked(
        self, shard: int, subject: str, field: str, first: int, count: int | None, expected: np.ndarray
    ) -> np.ndarray:
        """Read a row or some of its entries and hold them against their checksums."""
        place = self._rows(shard, field)
        handle = self._handle(shard)  # held until the read is done, as another thread may evict it
        array = read_row(handle.number, place, self._place[subject][1], first, count)
        path = self._path(shard)
        if array is None:
            raise StoreError(f"{path}, subject {subject}, field {field!r}: the file ends too soon; {again(path)}")
        if checksum(array, place.split) != expected.tolist():
            raise StoreError(
                f"{path}, subject {subject}, field {field!r}: damaged (its checksum does not fit); {again(path)}"
            )
        return array

    def _layout(self, shard: int) -> Content:
        """Where the rows of a shard lie, read from its file once."""
        if shard not in self._content:
            path, known = self._path(shard), self._manifests[shard]
            content = self._retry(lambda: layout.inspect(path), path)
            same = content.kind == self.kind and content.subjects == known["subjects"]
            sums = [zlib.crc32(text.encode()) for text in content.meta]
            if not same or content.checksums["meta"].reshape(-1).tolist() != sums:
                raise StoreError(f"{path}: damaged shard (it does not hold what its manifest lists); {again(path)}")
            self._content[shard] = content
        return self._content[shard]

    def _handle(self, shard: int) -> Handle:
        with self._lock:
            handle = self._open.get(shard)
        if handle is None:
            path = self._path(shard)
            handle = self._retry(lambda: Handle(path), path)
        with self._lock:
            self._open[shard] = handle
            self._open.move_to_end(shard)
            while len(self._open) > self.handles:
                self._open.popitem(last=False)
        return handle

    def _retry(self, action: Callable[[], T], path: Path) -> T:
        """Open a file; where the process has no descriptor left, let go of ours and try once more."""
        for last in (False, True):
            try:
                return action()
            except FileNotFoundError:
                raise StoreError(f"{path}: missing though its manifest is there; {again(path)}") from None
            except OSError as problem:
                if last or problem.errno not in NO_HANDLES:
                    raise disk_error(path, problem) from problem
                with self._lock:
                    self._open.clear()
        raise AssertionError("unreachable")

    def _forget(self, shard: int) -> None:
        self._content.pop(shard, None)
        with self._lock:
            self._open.pop(shard, None)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_open", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _open=OrderedDict(), _lock=threading.Lock())


def manifest_paths(folder: Path) -> list[Path]:
    """The shard manifests of a folder, in shard order."""
    return sorted(folder.glob("[0-9]" * 5 + ".json"))
