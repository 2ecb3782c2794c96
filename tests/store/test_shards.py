"""Shards: what is written is what is read, whatever the order, the attempts, the process or the thread."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from fixtures.shards import SHAPES, arrays_of, fill, ids, publish

from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

VIEWS = {"rgba": (5, 6, 7, 4), "camera_to_world": (5, 4, 4), "intrinsics": (5, 4)}


def views(subject: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(subject)
    return {
        "rgba": rng.integers(0, 256, VIEWS["rgba"], dtype=np.uint8),
        "camera_to_world": rng.standard_normal(VIEWS["camera_to_world"]).astype("float32"),
        "intrinsics": rng.random(VIEWS["intrinsics"], dtype="float32"),
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    shards = Shards(publish(tmp_path / "planes", shards=3), "planes")
    assert shards.subjects == ids(12)
    assert len(shards) == 12
    assert "000011" in shards
    assert "000012" not in shards
    assert shards.shape("planes") == SHAPES["planes"]
    for subject in shards:
        assert shards.meta(subject) == {"psnr": int(subject) + 0.5}
        for name, array in arrays_of(subject).items():
            read = shards.read(subject, name)
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)
            read[...] = 0
    assert shards.verify() == []


def test_other_tools_read_the_same(tmp_path: Path) -> None:
    with h5py.File(publish(tmp_path / "planes") / "00000.h5") as file:
        assert [text.decode() for text in file["subjects"][()]] == ids(4)
        np.testing.assert_array_equal(file["planes"][2], arrays_of("000002")["planes"])


def test_single_views_are_read_alone_and_checked(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 0, "views", ["a", "b"], VIEWS, {"resolution": [6, 7]}) as writer:
        for number, subject in enumerate("ab"):
            writer.add(subject, meta={"caption": "é"}, **views(number))
        writer.publish()
    shards = Shards(tmp_path, "views")
    rgba = views(1)["rgba"]
    np.testing.assert_array_equal(shards.read("b", "rgba", rows=3), rgba[3])
    np.testing.assert_array_equal(shards.read("b", "rgba", rows=-1), rgba[-1])
    np.testing.assert_array_equal(shards.read("b", "rgba", rows=[4, 0]), rgba[[4, 0]])
    np.testing.assert_array_equal(shards.read("b", "rgba", rows=slice(1, 4)), rgba[1:4])
    np.testing.assert_array_equal(shards.read("b", "intrinsics", rows=slice(1, 4)), views(1)["intrinsics"][1:4])
    assert shards.read("b", "rgba", rows=[]).shape == (0, *VIEWS["rgba"][1:])
    assert shards.attributes("a") == {"resolution": [6, 7]}
    assert shards.meta("a") == {"caption": "é"}
    with pytest.raises(IndexError):
        shards.read("b", "rgba", rows=5)


def test_the_same_rows_make_the_same_file(tmp_path: Path) -> None:
    whole = publish(tmp_path / "whole") / "00000.h5"
    with ShardWriter(tmp_path / "broken", 0, "planes", ids(4), SHAPES, attempt="7_0") as writer:
        for subject in ["000003", "000001"]:
            writer.add(subject, meta={"psnr": int(subject) + 0.5}, **arrays_of(subject))
    for _ in range(2):
        with ShardWriter(tmp_path / "broken", 0, "planes", ids(4), SHAPES, attempt="7_0") as writer:
            fill(writer, 1)
    with ShardWriter(tmp_path / "broken", 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == []
        writer.publish()
    assert (tmp_path / "broken" / "00000.h5").read_bytes() == whole.read_bytes()
    assert (tmp_path / "broken" / "00000.json").read_bytes() == whole.with_suffix(".json").read_bytes()
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["00000.h5", "00000.json"]


def test_a_failed_subject_has_no_row(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "some", 0, "planes", ids(4), SHAPES) as writer:
        writer.fail("000001", "psnr 3.0\nunder the floor")
        fill(writer)
        writer.publish()
    with ShardWriter(tmp_path / "others", 0, "planes", ["000000", "000002", "000003"], SHAPES) as writer:
        fill(writer)
        writer.publish()
    shards = Shards(tmp_path / "some", "planes")
    assert shards.failed == {"000001": "psnr 3.0 under the floor"}
    np.testing.assert_array_equal(shards.read("000002", "planes"), arrays_of("000002")["planes"])
    with pytest.raises(StoreError, match=r"000001 failed \(psnr 3.0 under the floor\)"):
        shards.read("000001", "planes")
    assert (tmp_path / "some" / "00000.h5").read_bytes() == (tmp_path / "others" / "00000.h5").read_bytes()
    (tmp_path / "some" / "00000.json").unlink()
    with ShardWriter(tmp_path / "some", 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == ["000001"]


def test_all_failed_is_still_done(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 0, "planes", ids(2), SHAPES) as writer:
        for subject in writer.missing():
            writer.fail(subject, "no views")
        writer.publish()
    assert Shards(tmp_path, "planes").subjects == []
    assert Shards(tmp_path, "planes").verify() == []


def test_a_published_shard_is_left_alone(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes")
    before = (folder / "00000.h5").stat().st_ino
    with ShardWriter(folder, 0, "planes", ids(4), SHAPES) as writer:
        assert writer.missing() == []
        writer.publish()
    assert (folder / "00000.h5").stat().st_ino == before
    with pytest.raises(StoreError, match="holds 4 subjects of kind planes, wanted 5"):
        ShardWriter(folder, 0, "planes", ids(5), SHAPES)
    with pytest.raises(StoreError, match="use another run folder or move this shard elsewhere"):
        ShardWriter(folder, 0, "planes", ids(4, 1), SHAPES)
    with pytest.raises(StoreError, match="holds 4 subjects of kind planes, wanted 4 of kind views"):
        ShardWriter(folder, 0, "views", ids(4), VIEWS)


def test_rows_of_another_shape_are_not_adopted(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 0, "planes", ids(2), {"planes": (3, 4, 16, 16), "base": (3, 4, 4, 4)}) as writer:
        fill(writer, 1)
    with ShardWriter(tmp_path, 0, "planes", ids(2), SHAPES) as writer:
        assert writer.missing() == ids(2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"planes": np.zeros((3, 4, 8, 9))}, r"got shape \[3, 4, 8, 9\], wanted \[3, 4, 8, 8\]"),
        ({"planes": np.full((3, 4, 8, 8), np.nan)}, "NaN or infinity"),
        ({"planes": np.full((3, 4, 8, 8), 1e6)}, "NaN or infinity"),
        ({"planes": np.zeros((3, 4, 8, 8), complex)}, "got type complex128, wanted float16"),
        ({"views": np.zeros(3)}, r"got fields \['base', 'planes', 'views'\], wanted \['base', 'planes'\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with ShardWriter(tmp_path, 0, "planes", ids(1), SHAPES) as writer:
        with pytest.raises(StoreError, match=message):
            writer.add("000000", **(arrays_of("000000") | arrays))
        assert writer.missing() == ["000000"]


def test_misuse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"wanted \[3 C R R\] with C=4, R=8"):
        ShardWriter(tmp_path, 0, "planes", ids(1), SHAPES | {"planes": (3, 4, 8, 9)})
    with pytest.raises(StoreError, match="got 'plane', wanted one of latents, planes"):
        ShardWriter(tmp_path, 0, "plane", ids(1), SHAPES)
    with pytest.raises(StoreError, match="'a' appears twice"):
        ShardWriter(tmp_path, 0, "planes", ["a", "b", "a"], SHAPES)
    with ShardWriter(tmp_path, 0, "planes", ids(2), SHAPES) as writer:
        with pytest.raises(StoreError, match="'x' is not one of this shard's 2 subjects"):
            writer.add("x", **arrays_of("000000"))
        with pytest.raises(StoreError, match="only finite numbers"):
            writer.add("000000", meta={"psnr": float("nan")}, **arrays_of("000000"))
        fill(writer, 1)
        with pytest.raises(StoreError, match="already written"):
            writer.add("000000", **arrays_of("000000"))
        with pytest.raises(StoreError, match="1 of 2 subjects neither written nor failed, first 000001"):
            writer.publish()
    with pytest.raises(StoreError, match="no finished shard of kind planes"):
        Shards(tmp_path, "planes")
    shards = Shards(publish(tmp_path / "planes"), "planes")
    with pytest.raises(StoreError, match="no field 'rgba'; it has base, planes"):
        shards.read("000000", "rgba")
    with pytest.raises(StoreError, match="no subject '9' among 4"):
        shards.read("9", "planes")


def test_other_versions_and_other_programs_are_refused(tmp_path: Path) -> None:
    path = publish(tmp_path / "planes") / "00000.h5"
    known = manifest.read(path.with_suffix(".json"))
    manifest.publish(path.with_suffix(".json"), known | {"version": 3})
    with pytest.raises(StoreError, match=r"a newer rodin \(schema 3, this one reads 2\)"):
        Shards(path.parent, "planes")
    manifest.publish(path.with_suffix(".json"), known)
    with pytest.raises(StoreError, match="of kind 'planes', wanted 'views'"):
        Shards(path.parent, "views")
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 7
    with pytest.raises(StoreError, match="a newer rodin"):
        Shards(path.parent, "planes").read("000000", "planes")
    with h5py.File(path, "w") as file:
        file["planes"] = np.zeros(3)
    with pytest.raises(StoreError, match="not a rodin shard"):
        Shards(path.parent, "planes").read("000000", "planes")
    twice = publish(tmp_path / "twice")
    for suffix in (".h5", ".json"):
        (twice / f"00001{suffix}").write_bytes((twice / f"00000{suffix}").read_bytes())
    with pytest.raises(StoreError, match="subject 000000 is also in shard 0"):
        Shards(twice, "planes")


def test_one_reader_serves_forks_threads_and_pickles(tmp_path: Path) -> None:
    shards = Shards(publish(tmp_path / "planes", shards=4), "planes", handles=2)
    wanted = {subject: arrays_of(subject)["planes"].tobytes() for subject in shards}

    def whole(subject: str) -> bool:
        return shards.read(subject, "planes").tobytes() == wanted[subject]

    assert whole("000000")
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os._exit(0 if all(whole(subject) for _ in range(3) for subject in shards) else 1)
        children.append(child)
    assert all(whole(subject) for _ in range(3) for subject in shards)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(whole, shards.subjects * 8))
    copy = pickle.loads(pickle.dumps(shards))
    assert copy.read("000005", "planes").tobytes() == wanted["000005"]


def test_more_shards_than_file_handles(tmp_path: Path) -> None:
    folder = publish(tmp_path / "planes", shards=48, size=1)
    limited = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from rodin.store.shards.reader import Shards\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))\n"
        "shards = Shards(Path(sys.argv[1]), 'planes')\n"
        "sums = [float(shards.read(subject, 'planes').sum()) for _ in range(2) for subject in shards]\n"
        "assert len(sums) == 96, len(sums)\n"
        "assert shards.verify() == []\n"
    )
    subprocess.run([sys.executable, "-c", limited, str(folder)], check=True, timeout=60)


def test_the_store_does_not_import_torch() -> None:
    code = (
        "import pkgutil, importlib, sys, rodin.store\n"
        "for module in pkgutil.walk_packages(rodin.store.__path__, 'rodin.store.'):\n"
        "    importlib.import_module(module.name)\n"
        "assert 'rodin.store.shards.reader' in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
