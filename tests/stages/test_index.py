"""The index: right against a brute-force computation, the same to the last bit however many ranks share the work."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.shards import SHAPES, arrays_of, fill, ids

from rodin.config import Config
from rodin.config.data import Data
from rodin.config.fitting import Fit
from rodin.data.index_files import MEANS, RANGES
from rodin.hooks import Hooks, Stopped
from rodin.stages import index
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

CONFIG = Config(
    preset="tiny",
    data=Data(subjects=17, held_out=3, views=8, reference_views=2, shard_subjects=4),
    fit=Fit(held_out_views=2),
)
FAILED = "000006"
RANKED = """
import sys
from pathlib import Path
from rodin.config import Config
from rodin.stages import index
from rodin.hooks import Hooks
from rodin.store.mpi import mpi_ranks
from rodin.store.run_folder import RunFolder

assert "torch" not in sys.modules  # half of the time of a rank, and of its memory
index.run(Config.model_validate_json(sys.argv[1]), RunFolder(Path(sys.argv[2])), 0, Hooks())
(Path(sys.argv[2]) / f"rank-{mpi_ranks().rank}-of-{mpi_ranks().size}").touch()
"""


def fitted(run: Path) -> RunFolder:
    folder = RunFolder(run)
    for shard in range(CONFIG.shards("fit")):
        with ShardWriter(folder.stage("fit"), shard, "planes", CONFIG.subjects_of("fit", shard), SHAPES) as writer:
            if FAILED in writer.subjects:
                writer.fail(FAILED, "psnr 3.1 under the floor")
            fill(writer)
            writer.publish()
    return folder


def test_against_brute_force(tmp_path: Path) -> None:
    folder = fitted(tmp_path)
    index.run(CONFIG, folder, 0, Hooks())
    found = manifest.read(folder.manifest("index"))
    people = [subject for subject in ids(17) if subject != FAILED]
    assert list(found["subjects"]) == people
    assert found["subjects"]["000005"] == [1, 1]
    assert found["subjects"]["000007"] == [1, 2]
    assert found["failed"] == {FAILED: "psnr 3.1 under the floor"}
    for field, prefix in (("planes", ""), ("base", "base_")):
        stacked = np.stack([arrays_of(subject)[field] for subject in people]).astype(np.float64)
        by_channel = np.moveaxis(stacked, 2, 0).reshape(stacked.shape[2], -1)
        np.testing.assert_allclose(found[f"{prefix}mean"], by_channel.mean(1), rtol=1e-12)
        np.testing.assert_allclose(found[f"{prefix}std"], by_channel.std(1), rtol=1e-12)
        assert found[f"{prefix}min"] == by_channel.min(1).tolist()
        assert found[f"{prefix}max"] == by_channel.max(1).tolist()
        mean = stacked.mean(0)
        around = np.moveaxis(stacked - mean, 2, 0).reshape(stacked.shape[2], -1)
        np.testing.assert_allclose(found[f"{prefix}spread"], around.std(1), rtol=1e-9)
        with np.load(folder.stage("index") / MEANS) as means:
            np.testing.assert_array_equal(means[field], mean.astype(np.float32))
        with np.load(folder.stage("index") / RANGES) as ranges:
            np.testing.assert_array_equal(ranges[f"{field}_least"], stacked.min(0))
            np.testing.assert_array_equal(ranges[f"{field}_greatest"], stacked.max(0))
            assert ranges[f"{field}_least"].dtype == arrays_of(people[0])[field].dtype
    rows = read_rows(folder, "fit")
    assert [row["subject"] for row in rows] == people
    assert rows[3] == {
        "stage": "fit",
        "subject": "000003",
        "psnr": 3.5,
        "ssim": None,
        "haze": None,
        "seconds": None,
        "steps": None,
    }


def test_moments_keep_their_digits_far_from_zero() -> None:
    planes = np.random.default_rng(0).standard_normal((2, 3, 4, 16, 16)) + 1e6
    moments = index.merge(index.moments_of(planes[0]), index.moments_of(planes[1]))
    values = np.moveaxis(planes, 2, 0).reshape(4, -1)
    np.testing.assert_allclose(moments.std, values.std(1), rtol=1e-9)


def test_the_same_whatever_the_number_of_ranks(tmp_path: Path) -> None:
    launcher = shutil.which("mpiexec") or shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    if launcher is None or importlib.util.find_spec("mpi4py") is None:
        pytest.skip("no mpiexec or no mpi4py here; install mpich and mpi4py (the test extra has them)")
    folder = fitted(tmp_path / "run")
    index.run(CONFIG, folder, 0, Hooks())
    files = [folder.manifest("index"), folder.results / "fit-00000.jsonl"]
    files += [folder.stage("index") / name for name in (MEANS, RANGES)]
    wanted = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    words = [launcher, "-n", "3", sys.executable, "-m", "mpi4py", "-c", RANKED]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([*words, CONFIG.model_dump_json(), str(folder.path)], check=True, timeout=120, env=environment)
    assert (folder.path / "rank-2-of-3").exists()
    assert [path.read_bytes() for path in files] == wanted


def test_what_is_not_fitted_or_damaged_is_told(tmp_path: Path) -> None:
    folder = fitted(tmp_path)
    moved = folder.manifest("fit", 3).rename(tmp_path / "aside")
    with pytest.raises(StoreError, match="1 of 5 shards are not fitted, first 00003"):
        index.run(CONFIG, folder, 0, Hooks())
    moved.rename(folder.manifest("fit", 3))
    with folder.shard("fit", 2).open("r+b") as file:
        file.seek(4000)
        file.write(b"\x01\x02\x03\x04")
    with pytest.raises(StoreError, match=r"00002.h5, subject 0000\d\d, field .* run the same command again"):
        index.run(CONFIG, folder, 0, Hooks())
    assert not manifest.complete(folder.manifest("index"))


def test_asked_to_stop(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        index.run(CONFIG, fitted(tmp_path), 0, Hooks(should_stop=lambda: True))
