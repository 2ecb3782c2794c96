"""HDF5 structure of a shard file, and where its rows lie in it. The only module that imports h5py.

Every dataset is contiguous and gets its place in the file when the file is made, so only row bytes change while a
shard is being filled: a killed writer leaves a readable structure, a row is one range of bytes at a known offset, no
HDF5 object has to survive a fork, and the same rows give the same file byte for byte, in whatever order and by however
many attempts they were written. FORMAT.md beside `rodin.store` describes the file for other tools.

Ours: contiguous rows instead of one chunk a subject: with fletcher32 chunks h5py wrote half and read a seventh as
fast as without (measured), and a chunk index is one more part that a kill can damage.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from rodin.store.errors import OtherVersion, StoreError
from rodin.store.manifest import canonical, next_step
from rodin.store.shards import schema
from rodin.store.shards.overlay import Overlay, ReadOnly
from rodin.store.shards.rowfile import RowLayout


@dataclass(frozen=True)
class ShardContent:
    """Index of a finished shard: everything but its rows, in row order.

    Args:
        kind: kind of shard.
        rows: field -> where its rows lie.
        subjects: ids.
        meta: each row's plain values as JSON.
        checksums: field -> [rows, checksums of a row] uint64; "meta" -> those of id and meta.
        attributes: plain values of the whole shard.
    """

    kind: str
    rows: dict[str, RowLayout]
    subjects: list[str]
    meta: list[str]
    checksums: dict[str, np.ndarray]
    attributes: dict[str, Any] = field(default_factory=dict)


@contextmanager
def writing(path: Path, mode: Literal["w", "r+"]) -> Iterator[h5py.File]:
    """Open an HDF5 file for writing; its changes go to disk only after HDF5 has closed it, by plain system calls."""
    with Overlay(path, fresh=mode == "w") as overlay:
        with h5py.File(overlay, mode, libver=("v108", "v108")) as file:
            yield file
        overlay.commit()


def create(path: Path, kind: str, count: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, RowLayout]:
    """Make a shard file with space for `count` rows, none written yet.

    Args:
        path: file to make.
        kind: kind of shard.
        count: rows.
        shapes: field -> one row's shape.

    Returns:
        field -> where its rows lie.
    """
    fields = schema.fields_of(kind)
    with writing(path, "w") as file:
        file.attrs["format"] = np.bytes_(schema.FORMAT.encode())
        file.attrs["version"] = np.int64(schema.VERSION)
        file.attrs["kind"] = np.bytes_(kind.encode())
        for name in sorted(shapes):
            settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            settings.set_layout(h5py.h5d.CONTIGUOUS)
            settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            settings.set_obj_track_times(False)
            shape = (count, *shapes[name])
            file.create_dataset(name, shape=shape, dtype=fields[name].dtype, dcpl=settings, track_times=False)
        return {name: rows_of(file, name, fields[name]) for name in sorted(shapes)}


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset of an open file.

    Raises:
        KeyError: there is none of that name.
    """
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{name} is not a dataset")
    return found


def rows_of(file: h5py.File, name: str, wanted: schema.FieldKind) -> RowLayout:
    """Where the rows of a field of an open file lie.

    Raises:
        StoreError: the dataset is chunked, stored elsewhere or of another type than the schema's.
    """
    data = dataset(file, name)
    if data.chunks is not None or data.external or data.dtype != np.dtype(wanted.dtype):
        raise StoreError(
            f"{file.filename}: field {name!r} is not the plain contiguous {wanted.dtype} that rodin writes; "
            "keep other HDF5 files out of the run folder"
        )
    return RowLayout(data.dtype, tuple(int(size) for size in data.shape[1:]), data.id.get_offset() or 0, wanted.split)


def add_index(path: Path, content: ShardContent) -> None:
    """Add ids, meta, attributes and checksums to a filled shard file, so that it can be read without its manifest."""
    with writing(path, "r+") as file:
        put_texts(file, "subjects", content.subjects)
        put_texts(file, "meta", content.meta)
        put_texts(file, "attributes", [canonical(content.attributes)])
        for name in sorted(content.checksums):
            file.create_dataset(f"checksums/{name}", data=content.checksums[name], dtype="uint64", track_times=False)


def put_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """Write a list of texts as UTF-8 of one fixed length, so that equal lists give equal bytes."""
    raw = [text.encode() for text in texts]
    width = max([len(text) for text in raw], default=1)
    kind = h5py.string_dtype("utf-8", max(width, 1))
    file.create_dataset(name, data=np.array(raw, dtype=kind).reshape(-1), dtype=kind, track_times=False)


def inspect(path: Path) -> ShardContent:
    """Read the index of a finished shard.

    HDF5 reads through a Python file. With a path it would lock the file where HDF5_USE_FILE_LOCKING says so, whatever
    its argument `locking` is, and take another program's lock, or an error of the disk, for a damaged file.

    Raises:
        FileNotFoundError: the file is missing.
        OSError: the operating system does not let it be read.
        StoreError: it is damaged or not a shard; names the file and the next step.
        OtherVersion: another version of rodin wrote it.
    """
    with ReadOnly(path) as raw:
        try:
            with h5py.File(raw, "r") as file:
                return read_content(path, file)
        except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as problem:
            raw.check()
            if isinstance(problem, StoreError):
                raise
            raise _damaged(path, problem) from problem


def _damaged(path: Path, problem: Exception) -> StoreError:
    reason = str(problem).strip("'\"").splitlines()[0] if str(problem) else type(problem).__name__
    return StoreError(f"{path}: damaged shard ({reason}); {next_step(path)}")


def read_content(path: Path, file: h5py.File) -> ShardContent:
    """Index of an open shard; see `inspect`."""
    if file.attrs.get("format") != np.bytes_(schema.FORMAT.encode()):
        raise StoreError(f"{path}: not a rodin shard; keep other HDF5 files out of the run folder")
    version = int(file.attrs["version"])  # pyright: ignore[reportArgumentType]
    if version != schema.VERSION:
        raise OtherVersion(f"{path}: {schema.other_version(version)}")
    kind = bytes(file.attrs["kind"]).decode()  # pyright: ignore[reportArgumentType]
    fields = schema.fields_of(kind)
    rows = {name: rows_of(file, name, fields[name]) for name in file if name in fields}
    texts = {name: [bytes(text).decode() for text in dataset(file, name)[()]] for name in ("subjects", "meta")}
    checksums = {name: np.asarray(dataset(file, f"checksums/{name}")[()]) for name in [*rows, "meta"]}
    count = len(texts["subjects"])
    shapes = {name: (count, field.parts) for name, field in rows.items()} | {"meta": (count, 1)}
    equal = all(dataset(file, name).shape[0] == count for name in rows) and len(texts["meta"]) == count
    if not equal or any(checksums[name].shape != shape for name, shape in shapes.items()):
        raise StoreError(f"{path}: damaged shard (its parts differ in length); {next_step(path)}")
    attributes = json.loads(bytes(dataset(file, "attributes")[()][0]))
    return ShardContent(kind, rows, texts["subjects"], texts["meta"], checksums, attributes)
