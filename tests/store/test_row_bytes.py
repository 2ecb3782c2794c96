"""Rows: shapes that do not fit, long texts, system calls that move less than asked, values that are not finite."""

import os
from pathlib import Path

import numpy as np
import pytest
import xxhash
from fixtures.shards import SHAPES, arrays_of

from rodin.store.errors import StoreError
from rodin.store.shards import rowfile, schema
from rodin.store.shards.reader import Shards
from rodin.store.shards.rowfile import RowLayout
from rodin.store.shards.writer import ShardWriter

SPECIAL = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("length", [1, 5, rowfile.BLOCK // 4 + 1, rowfile.BLOCK // 2 + 3])
def test_values_that_are_not_finite_are_found_anywhere(dtype: str, length: int) -> None:
    limits = np.finfo(dtype)
    for value in [*SPECIAL, limits.max, limits.min, limits.tiny, limits.smallest_subnormal, -limits.smallest_subnormal]:
        for place in {0, length // 2, length - 1}:
            array = np.zeros(length, dtype)
            array[place] = value
            assert rowfile.finite(array) == np.isfinite(array).all(), (value, place)


def test_whole_numbers_are_finite() -> None:
    assert rowfile.finite(np.full(3, 255, "uint8"))
    assert rowfile.finite(np.ones(3, bool))


def test_short_reads_and_writes_go_on_where_they_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preadv, pwrite = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda handle, buffers, at: preadv(handle, [buffers[0][:100]], at))
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: pwrite(handle, data[:70], at))
    rows, array = RowLayout(np.dtype("float32"), (4, 33), 12, True), np.arange(4 * 33, dtype="float32").reshape(4, 33)
    handle = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    for row in range(3):
        rowfile.write_row(handle, rows, row, array + row)
    assert (tmp_path / "x").stat().st_size == 12 + 3 * 4 * 33 * 4
    for row in range(3):
        part = np.empty((2, 33), "float32")
        assert rowfile.read_row(handle, rows, row, part, first=1)
        np.testing.assert_array_equal(part, (array + row)[1:3])
        wanted = [xxhash.xxh3_64_intdigest(entry.tobytes()) for entry in array + row]
        assert rowfile.row_checksum(handle, rows, row, memoryview(bytearray(64))) == wanted
        assert rowfile.checksum(array + row, split=True) == wanted
    assert not rowfile.read_row(handle, rows, 2, np.empty((2, 33), "float32"), first=3)
    assert rowfile.row_checksum(handle, rows, 3, memoryview(bytearray(64))) is None
    os.close(handle)


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (3, 4, 9, 8), (3, 5, 8, 8), (3, 4, 8), (3, 4, 8, 8, 1), (3, 4, 0, 0)])
def test_shapes_that_do_not_fit_their_kind_are_refused(shape: tuple[int, ...]) -> None:
    schema.check_shapes("planes", SHAPES)
    with pytest.raises(StoreError, match="planes shard, field '(base|planes)': got shape"):
        schema.check_shapes("planes", {"base": (3, 4, 4, 4), "planes": shape})


def test_bytes_of_a_row_are_those_of_its_arrays() -> None:
    shapes = {"image": (5, 7), "text": (2, 7), "tokens": (2, 3, 9), "token_mask": (2, 3)}
    fields = schema.fields_of("latents")
    wanted = sum(np.zeros(shape, fields[name].dtype).nbytes for name, shape in shapes.items())
    assert schema.row_bytes("latents", shapes) == wanted
    assert all(schema.row_bytes(kind, dict.fromkeys(fields, (1,))) for kind, fields in schema.KINDS.items())


def test_long_ids_and_captions_come_back(tmp_path: Path) -> None:
    subjects, caption = ["é" * 100, "a"], "a woman with long red hair, glasses and a green shirt. " * 20
    with ShardWriter(tmp_path, 0, "planes", subjects, SHAPES) as writer:
        for subject in subjects:
            writer.add(subject, meta={"caption": caption + subject}, **arrays_of("000000"))
        writer.publish()
    shards = Shards(tmp_path, "planes")
    assert shards.verify() == []
    assert [shards.meta(subject)["caption"] for subject in subjects] == [caption + subject for subject in subjects]
