"""The only door to h5py: makes a shard's HDF5 file, and tells where its rows lie in the file.

Every dataset is contiguous and takes its place in the file when the file is made, so nothing but row bytes changes
while a shard is being filled: a killed writer leaves a file whose structure is whole, one row is one stretch of
bytes that is read and written by offset (no HDF5 handle lives across a fork or a kill), and the same rows give the
same file, byte for byte, in whatever order and by however many attempts they were written.

Ours: contiguous rows instead of one chunk a subject; the chunk index would be the part a kill can damage.
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
from rodin.store.shards.overlay import Overlay
from rodin.store.shards.rowfile import RowLayout


@dataclass(frozen=True)
class ShardContent:
    """What a sealed shard holds beside its rows, in row order."""

    kind: str
    rows: dict[str, RowLayout]
    subjects: list[str]
    meta: list[str]
    checksums: dict[str, np.ndarray]
    attributes: dict[str, Any] = field(default_factory=dict)


@contextmanager
def writing(path: Path, mode: Literal["w", "r+"]) -> Iterator[h5py.File]:
    """Open a file for writing; nothing goes to disk before HDF5 has closed it, and then by plain calls."""
    with Overlay(path, fresh=mode == "w") as overlay:
        with h5py.File(overlay, mode, libver=("v108", "v108")) as file:
            yield file
        overlay.commit()


def create(path: Path, kind: str, count: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, RowLayout]:
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
    with writing(path, "w") as file:
        file.attrs["format"] = np.bytes_(schema.FORMAT.encode())
        file.attrs["version"] = np.int64(schema.VERSION)
        file.attrs["kind"] = np.bytes_(kind.encode())
        for name in sorted(shapes):
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_layout(h5py.h5d.CONTIGUOUS)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            plan.set_obj_track_times(False)
            whole = (count, *shapes[name])
            file.create_dataset(name, shape=whole, dtype=fields[name].dtype, dcpl=plan, track_times=False)
        return {name: rows_of(file, name, fields[name]) for name in sorted(shapes)}


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset of an open file."""
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{name} is not a dataset")
    return found


def rows_of(file: h5py.File, name: str, wanted: schema.FieldKind) -> RowLayout:
    """Where the rows of a field of an open file lie; a field that is not as the schema says is refused."""
    data = dataset(file, name)
    if data.chunks is not None or data.external or data.dtype != np.dtype(wanted.dtype):
        raise StoreError(
            f"{file.filename}: field {name!r} is not the plain contiguous {wanted.dtype} that rodin writes; "
            "keep other HDF5 files out of the run folder"
        )
    return RowLayout(data.dtype, tuple(int(size) for size in data.shape[1:]), data.id.get_offset() or 0, wanted.split)


def add_index(path: Path, content: ShardContent) -> None:
    """Write into a filled shard file what names and checks its rows; it then explains itself without a manifest."""
    with writing(path, "r+") as file:
        put_texts(file, "subjects", content.subjects)
        put_texts(file, "meta", content.meta)
        put_texts(file, "attributes", [canonical(content.attributes)])
        for name in sorted(content.checksums):
            file.create_dataset(f"checksums/{name}", data=content.checksums[name], dtype="uint64", track_times=False)


def put_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """A list of texts as UTF-8 of one length, so that equal lists give equal bytes."""
    raw = [text.encode() for text in texts]
    width = max([len(text) for text in raw], default=1)
    kind = h5py.string_dtype("utf-8", max(width, 1))
    file.create_dataset(name, data=np.array(raw, dtype=kind).reshape(-1), dtype=kind, track_times=False)


def inspect(path: Path) -> ShardContent:
    """Read everything of a sealed shard but its rows.

    Raises:
        FileNotFoundError: it is missing.
        StoreError: it is damaged, of another program or of a newer version; names file and next step.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return read_content(path, file)
    except StoreError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise
        reason = str(problem).strip("'\"").splitlines()[0] if str(problem) else type(problem).__name__
        raise StoreError(f"{path}: damaged shard ({reason}); {next_step(path)}") from problem


def read_content(path: Path, file: h5py.File) -> ShardContent:
    """The content of an open shard."""
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
    shapes = {name: (count, place.parts) for name, place in rows.items()} | {"meta": (count, 1)}
    whole = all(dataset(file, name).shape[0] == count for name in rows) and len(texts["meta"]) == count
    if not whole or any(checksums[name].shape != shape for name, shape in shapes.items()):
        raise StoreError(f"{path}: damaged shard (its parts differ in length); {next_step(path)}")
    attributes = json.loads(bytes(dataset(file, "attributes")[()][0]))
    return ShardContent(kind, rows, texts["subjects"], texts["meta"], checksums, attributes)
