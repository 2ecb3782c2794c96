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
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np

from rodin.store.errors import OtherVersion, StoreError
from rodin.store.manifest import canonical, next_step
from rodin.store.shards import schema
from rodin.store.shards.overlay import Overlay, ReadOnly
from rodin.store.shards.rowfile import RowLayout, text_checksum

LARGEST_INDEX = 1 << 30  # bytes of ids or meta: 1 GB, a hundred times those of the paper's shards
LARGEST_ATTRIBUTE = 64  # bytes; rodin's have a few


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


class RowIndex(NamedTuple):
    """What reading a shard's rows takes: field -> where its rows lie, and [rows, checksums of a row] uint64."""

    rows: dict[str, RowLayout]
    checksums: dict[str, np.ndarray]


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
    """A dataset of an open file, whose bytes are all in that file as rodin writes them.

    A shard may be another user's: links into other files, virtual and external datasets would read whatever this user
    may read, and a compressed or chunked one may be larger than the memory.

    Raises:
        KeyError: there is none of that name, it is a link, or it is stored in another way.
    """
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        if not isinstance(file.get("/".join(parts[:count]), getlink=True), h5py.HardLink):
            raise KeyError(f"{name} is a link or missing")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{name} is not a dataset")
    offset = found.id.get_offset()  # None where it is chunked, virtual or in another file
    if found.nbytes and (offset is None or offset + found.nbytes > file.id.get_filesize()):
        raise KeyError(f"{name} is not stored in this file as rodin stores it")
    return found


def index_of(file: h5py.File, name: str, kind: Literal["S", "u"]) -> np.ndarray:
    """All entries of a dataset of the index: texts ("S") or whole numbers ("u").

    Raises:
        KeyError: as `dataset`; or it is of another type, or larger than any index.
    """
    found = dataset(file, name)
    if found.dtype.kind != kind:
        raise KeyError(f"{name} is of type {found.dtype}")
    if found.nbytes > LARGEST_INDEX:
        raise KeyError(f"{name} has {found.nbytes / 1e9:.1f} GB, too much for an index")
    return np.asarray(found[()])


def attribute(file: h5py.File, name: str) -> Any:
    """A short text or a number that belongs to the file; None: there is none of that name.

    Raises:
        KeyError: it is larger, which a text of rodin's never is.
    """
    if name not in file.attrs:
        return None
    known = file.attrs.get_id(name)
    if known.shape != () or known.dtype.hasobject or known.dtype.itemsize > LARGEST_ATTRIBUTE:
        raise KeyError(f"attribute {name!r} is of another form")
    return file.attrs[name]


def rows_of(file: h5py.File, name: str, wanted: schema.FieldKind) -> RowLayout:
    """Where the rows of a field of an open file lie.

    Raises:
        KeyError: the dataset is chunked, stored elsewhere or of another type than the schema's.
    """
    data = dataset(file, name)
    if data.dtype != np.dtype(wanted.dtype) or data.ndim != 1 + len(wanted.shape.split()) or 0 in data.shape[1:]:
        raise KeyError(f"{name} is not the {wanted.dtype} [rows {wanted.shape}] that rodin writes")
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


def row_index(path: Path, kind: str, subjects: list[str]) -> RowIndex:
    """Where the rows of a finished shard lie, without its ids and meta, which are checked.

    Args:
        path: of the file.
        kind, subjects: as its manifest has them.

    Raises:
        StoreError: it holds another kind or other subjects, or their meta is damaged; and as `inspect`.
    """
    content = inspect(path)
    same = content.kind == kind and content.subjects == subjects
    sums = [text_checksum(*pair) for pair in zip(content.subjects, content.meta, strict=True)]
    if not same or content.checksums["meta"].tolist() != sums:
        raise StoreError(f"{path}: damaged shard (it does not hold what its manifest lists); {next_step(path)}")
    return RowIndex(content.rows, {field: content.checksums[field] for field in content.rows})


def _damaged(path: Path, problem: Exception) -> StoreError:
    reason = str(problem).strip("'\"").splitlines()[0] if str(problem) else type(problem).__name__
    return StoreError(f"{path}: damaged shard ({reason}); {next_step(path)}")


def read_content(path: Path, file: h5py.File) -> ShardContent:
    """Index of an open shard; see `inspect`."""
    if attribute(file, "format") != np.bytes_(schema.FORMAT.encode()):
        raise StoreError(f"{path}: not a rodin shard; keep other HDF5 files out of the run folder")
    version = int(attribute(file, "version"))
    if version != schema.VERSION:
        raise OtherVersion(f"{path}: {schema.other_version(version)}")
    kind = bytes(attribute(file, "kind")).decode()
    fields = schema.fields_of(kind)
    rows = {name: rows_of(file, name, fields[name]) for name in file if name in fields}
    texts = {name: [bytes(text).decode() for text in index_of(file, name, "S")] for name in ("subjects", "meta")}
    checksums = {name: index_of(file, f"checksums/{name}", "u") for name in [*rows, "meta"]}
    count = len(texts["subjects"])
    shapes = {name: (count, field.parts) for name, field in rows.items()} | {"meta": (count, 1)}
    equal = all(dataset(file, name).shape[0] == count for name in rows) and len(texts["meta"]) == count
    if not equal or any(checksums[name].shape != shape for name, shape in shapes.items()):
        raise StoreError(f"{path}: damaged shard (its parts differ in length); {next_step(path)}")
    attributes = json.loads(bytes(index_of(file, "attributes", "S")[0]))
    if not isinstance(attributes, dict) or not all(isinstance(json.loads(text), dict) for text in texts["meta"]):
        raise KeyError("attributes or meta are no JSON objects")
    return ShardContent(kind, rows, texts["subjects"], texts["meta"], checksums, attributes)
