"""Result rows, run folders and MPI ranks."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rodin.presets import preset
from rodin.presets.toml import to_toml
from rodin.store.errors import StoreError
from rodin.store.mpi import MARKS, SIZES, STEP_SIZE, mpi_ranks
from rodin.store.results import read_rows, row_files, write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.weights import weights_folder


def test_rows_come_back_in_shard_order(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_rows(run, "sweep-cfg", 10, [{"stage": "sweep-cfg", "psnr": np.float32(1.5)}])
    write_rows(run, "sweep-cfg", 2, [{"stage": "sweep-cfg", "lpips": None}, {"stage": "sweep-cfg", "ids": ["é\u2028"]}])
    write_rows(run, "sweep", 0, [{"stage": "sweep"}])
    assert read_rows(run, "sweep-cfg") == [
        {"stage": "sweep-cfg", "lpips": None},
        {"stage": "sweep-cfg", "ids": ["é\u2028"]},
        {"stage": "sweep-cfg", "psnr": 1.5},
    ]
    assert read_rows(run, "sweep") == [{"stage": "sweep"}]
    assert read_rows(run, "evaluate") == []
    write_rows(run, "sweep", 0, [])
    assert read_rows(run, "sweep") == []


def test_bad_rows_are_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="wanted 'stage' among them"):
        write_rows(run, "fit", 0, [{"psnr": 1.0}])
    with pytest.raises(StoreError, match="only finite numbers"):
        write_rows(run, "fit", 0, [{"stage": "fit", "psnr": float("nan")}])
    with pytest.raises(ValueError, match="wanted lower-case words joined by '-'"):
        write_rows(run, "../fit", 0, [])
    assert not run.results.exists()
    write_rows(run, "fit", 0, [{"stage": "fit"}])
    with (run.results / "fit-00000.jsonl").open("a") as file:
        file.write('{"stage": "f')
    with pytest.raises(StoreError, match=r"fit-00000.jsonl:2: not a result row"):
        read_rows(run, "fit")


def test_names_in_a_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert run.manifest("fit", 7) == tmp_path / "run" / "planes" / "00007.json"
    assert run.shard("render", 7) == run.shard("import", 7) == tmp_path / "run" / "views" / "00007.h5"
    assert [run.stage(name).name for name in ("embed", "sample", "clip", "sweep-cfg")] == [
        "latents",
        "samples",
        "clip",
        "sweep-cfg",
    ]
    assert not run.path.exists()


def test_weights_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RODIN_WEIGHTS", "/shared/weights")
    assert weights_folder() == Path("/shared/weights")
    monkeypatch.setenv("RODIN_WEIGHTS", "")
    monkeypatch.setenv("HOME", "/home/anna")
    assert weights_folder() == Path("/home/anna/.cache/rodin/weights")


def test_one_process_is_rank_0_of_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*MARKS, *SIZES):
        monkeypatch.delenv(name, raising=False)
    here = mpi_ranks()
    assert (here.rank, here.size) == (0, 1)
    assert here.gather("x") == ["x"]
    assert here.broadcast("x") == "x"


def test_ranks_without_mpi_are_not_taken_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*MARKS, *SIZES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "1")
    assert mpi_ranks().size == 1
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(StoreError, match="MPI started 4 processes but mpi4py cannot load an MPI library"):
        mpi_ranks()


MET, APART = "4 met", "4 MPI processes were started but do not meet"


@pytest.mark.parametrize(
    ("variables", "size", "found"),
    [
        ({"PMI_RANK": "3", "PMI_SIZE": "4"}, 4, MET),
        ({"PMI_RANK": "3", "PMI_SIZE": "4"}, 1, APART),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "3"}, 1, APART),
        ({"PMIX_RANK": "3", STEP_SIZE: "4"}, 4, MET),
        ({"PMIX_RANK": "3", STEP_SIZE: "4"}, 1, APART),
        ({"PMIX_RANK": "0", STEP_SIZE: "1", "SLURM_NTASKS": "4"}, 1, "1 met"),  # srun -n 1, or salloc's shell
        ({"PMIX_RANK": "0", "SLURM_NTASKS": "4"}, 1, "1 met"),
        ({"PMIX_RANK": "0", STEP_SIZE: "4", "OMPI_COMM_WORLD_SIZE": "1"}, 1, "1 met"),  # mpiexec -n 1 in a step
        ({"PMI_RANK": "0", "PMI_SIZE": "1", STEP_SIZE: "4"}, 1, "1 met"),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, 1, "alone"),  # a batch script
        ({"SLURM_PROCID": "2", STEP_SIZE: "4"}, 1, "alone"),  # srun --mpi=none: elements of an array
    ],
)
def test_ranks_that_do_not_meet_are_told(
    variables: dict[str, str], size: int, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*MARKS, *SIZES, STEP_SIZE, "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    world = SimpleNamespace(Get_rank=lambda: 0, Get_size=lambda: size)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", SimpleNamespace(COMM_WORLD=world))
    if found == APART:
        with pytest.raises(StoreError, match=rf"^{APART}: [^\n]*set `mpi` in the site file \(pmix for OpenMPI"):
            mpi_ranks()
        return
    here = mpi_ranks()
    assert here.communicator is (None if found == "alone" else world)
    assert here.size == (4 if found == MET else 1)


def test_another_launcher_s_processes_end_with_one_line_and_status_2(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    variables = {name: value for name, value in os.environ.items() if name not in (*MARKS, *SIZES)}
    variables |= {
        "OMPI_COMM_WORLD_RANK": "0",
        "OMPI_COMM_WORLD_SIZE": "2",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.toml").write_text(to_toml(preset("tiny")))
    words = [sys.executable, "-m", "jobs", "store", "verify", str(tmp_path / "run")]
    ended = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "rodin: error: 2 MPI processes were started but do not meet" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_damaged_rows_name_what_to_delete(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    made_by = {"fit": "index", "clip-retrieval": "clip", "sweep-cfg": "sweep-cfg", "base": "base"}
    for name, stage in made_by.items():
        for content in (b"", b"\n", b"\xff\n", b"[]\n", b"[" * 100_000):
            write_rows(run, name, 3, [{"stage": stage}])
            path = run.results / f"{name}-00003.jsonl"
            path.write_bytes(content)
            with pytest.raises(StoreError) as problem:
                read_rows(run, name)
            remade = f"delete {path} and {run.manifest(stage, 3)} and run the same command again: it re-makes them"
            assert str(problem.value) == f"{path}:1: not a result row; {remade}"
    write_rows(run, "timing-fit", 0, [{"stage": "timing"}])
    (run.results / "timing-fit-00000.jsonl").write_bytes(b"{")
    with pytest.raises(StoreError, match="delete it: it holds the times of work that is done"):
        read_rows(run, "timing-fit")


def test_without_rows_there_is_no_file(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_rows(run, "fit", 0, [])
    assert row_files(run) == []
    write_rows(run, "fit", 0, [{"stage": "fit"}])
    write_rows(run, "base", 12, [{"stage": "base"}])
    (run.results / "notes.txt").write_text("x")
    assert [path.name for path in row_files(run)] == ["base-00012.jsonl", "fit-00000.jsonl"]
    assert [path.name for path in row_files(run, "fit")] == ["fit-00000.jsonl"]
    write_rows(run, "fit", 0, [])
    assert row_files(run, "fit") == []
