"""The only door to h5py: makes a shard's HDF5 file, and tells where its rows lie in the file.

Every dataset is contiguous and takes its place in the file when the file is made, so nothing but row bytes changes
while a shard is being filled: a killed writer leaves a file whose structure is whole, one row is one stretch of
bytes that is read and written by offset (no HDF5 handle lives across a fork or a kill), and the same rows give the
same file, byte for byte, in whatever order and by however many attempts they were written.

Ours: contiguous rows instead of one chunk a subject; the chunk index would be the part a kill can damage.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rodin.store import schema
from rodin.store.errors import StoreError
from rodin.store.manifest import again, canonical

TRUTH = np.dtype("bool")


@dataclass(frozen=True)
class Rows:
    """Where the rows of one field lie.

    Args:
        dtype: numpy type.
        shape: one row's shape.
        offset: byte of the file at which row 0 starts.
        split: whether each entry along a row's first axis has its own checksum.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    split: bool

    @property
    def bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def parts(self) -> int:
        """Checksums of one row."""
        return self.shape[0] if self.split else 1


@dataclass(frozen=True)
class Content:
    """What a sealed shard holds beside its rows, in row order."""

    kind: str
    rows: dict[str, Rows]
    subjects: list[str]
    meta: list[str]
    checksums: dict[str, np.ndarray]
    attributes: dict[str, Any] = field(default_factory=dict)


def create(path: Path, kind: str, count: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Rows]:
    """Make a shard file with room for `count` rows, none written yet.

    Args:
        path: file to make.
        kind: kind of shard.
        count: rows.
        shapes: field -> one row's shape.

    Returns:
        field -> where its rows lie.
    """
    fields = schema.fields_of(kind)
    with h5py.File(path, "w", libver=("v108", "v108"), locking=False) as file:
        file.attrs["format"] = np.bytes_(schema.FORMAT)
        file.attrs["version"] = np.int64(schema.VERSION)
        file.attrs["kind"] = np.bytes_(kind)
        for name in sorted(shapes):
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_layout(h5py.h5d.CONTIGUOUS)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            plan.set_obj_track_times(False)
            whole = (count, *shapes[name])
            file.create_dataset(name, shape=whole, dtype=fields[name].dtype, dcpl=plan, track_times=False)
        return {name: rows_of(file, name, fields[name]) for name in sorted(shapes)}


def rows_of(file: h5py.File, name: str, wanted: schema.FieldKind) -> Rows:
    """Where the rows of a field of an open file lie; a field that is not as the schema says is refused."""
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.chunks is not None or data.external:
        raise StoreError(f"{file.filename}: field {name!r} is not a plain contiguous dataset, so not written by rodin")
    if data.dtype != np.dtype(wanted.dtype):
        raise StoreError(f"{file.filename}: field {name!r} has type {data.dtype}, wanted {wanted.dtype}")
    return Rows(data.dtype, tuple(int(size) for size in data.shape[1:]), data.id.get_offset() or 0, wanted.split)


def seal(path: Path, content: Content) -> None:
    """Write into a filled shard file what names and checks its rows; it then explains itself without a manifest."""
    with h5py.File(path, "r+", libver=("v108", "v108"), locking=False) as file:
        put_texts(file, "subjects", content.subjects)
        put_texts(file, "meta", content.meta)
        put_texts(file, "attributes", [canonical(content.attributes)])
        for name in sorted(content.checksums):
            file.create_dataset(f"checksums/{name}", data=content.checksums[name], dtype="uint32", track_times=False)


def put_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """A list of texts as UTF-8 of one length, so that equal lists give equal bytes."""
    raw = [text.encode() for text in texts]
    width = max([len(text) for text in raw], default=1)
    kind = h5py.string_dtype("utf-8", max(width, 1))
    file.create_dataset(name, data=np.array(raw, dtype=kind).reshape(-1), dtype=kind, track_times=False)


def inspect(path: Path) -> Content:
    """Read everything of a sealed shard but its rows.

    Raises:
        StoreError: it is missing, damaged, of another program or of a newer version; names file and next step.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return read_content(path, file)
    except FileNotFoundError:
        raise StoreError(f"{path}: missing though its manifest is there; {again(path)}") from None
    except StoreError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise
        reason = str(problem).strip("'\"").splitlines()[0] if str(problem) else type(problem).__name__
        raise StoreError(f"{path}: damaged shard ({reason}); {again(path)}") from problem


def read_content(path: Path, file: h5py.File) -> Content:
    """The content of an open shard."""
    if file.attrs.get("format") != np.bytes_(schema.FORMAT):
        raise StoreError(f"{path}: not a rodin shard; keep other HDF5 files out of the run folder")
    version = int(file.attrs["version"])
    if version != schema.VERSION:
        raise StoreError(
            f"{path}: schema version {version}, this rodin reads {schema.VERSION}; "
            "use the code snapshot in the run's code/ folder, or make the run anew"
        )
    kind = bytes(file.attrs["kind"]).decode()
    fields = schema.fields_of(kind)
    rows = {name: rows_of(file, name, fields[name]) for name in file if name in fields}
    texts = {name: [bytes(text).decode() for text in file[name][()]] for name in ("subjects", "meta", "attributes")}
    count = len(texts["subjects"])
    checksums = {name: np.asarray(file["checksums"][name][()]) for name in file["checksums"]}
    sizes = {file[name].shape[0] for name in rows} | {len(texts["meta"])} | {len(value) for value in checksums.values()}
    if sizes != {count} or set(checksums) != {*rows, "meta"}:
        raise StoreError(
            f"{path}: damaged shard (its parts have {sorted(sizes)} rows for {count} subjects); {again(path)}"
        )
    return Content(kind, rows, texts["subjects"], texts["meta"], checksums, json.loads(texts["attributes"][0]))
