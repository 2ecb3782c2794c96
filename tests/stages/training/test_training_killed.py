"""Each of the four models: killed or stopped on two ranks it is the unbroken run; 1, 2 and 4 ranks agree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

JOB = Path(__file__).with_name("killed_models.py")
MODELS = ["base", "upsample", "latent", "prior"]
QUICK = ["base", "latent"]  # planes, and vectors


def trained(out, *arguments):
    root = JOB.parents[3]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    command = [sys.executable, str(JOB), str(out), *map(str, arguments)]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=3000)
    errors = "".join(f"{path}: {path.read_text()}" for path in sorted(out.glob("*/rank-*.err")))
    assert done.returncode == 0, done.stderr + errors


def outcome(out, stage, name):
    folder = RunFolder(out / f"{stage}-{name}")
    model = checkpoint.read(folder.stage(stage) / "model.pt")["model"]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in read_rows(folder, stage)], model


def assert_resumes_to_the_bit(out, stage, seeds, signals=("SIGKILL", "SIGUSR2")):
    curve, model = outcome(out, stage, "unbroken2")
    for name in [f"{signal}{seed}" for signal in signals for seed in seeds]:
        other_curve, other = outcome(out, stage, name)
        assert curve == other_curve
        assert model.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in model.items())


def assert_ranks_agree(out, stage, steps):
    curves = [[loss for _, loss, _ in outcome(out, stage, f"unbroken{world}")[0]] for world in (1, 2, 4)]
    assert len(curves[0]) == steps
    assert max(curves[0]) - min(curves[0]) > 1e-3
    for curve in curves[1:]:
        assert curve == pytest.approx(curves[0], abs=1e-5)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    out = tmp_path_factory.mktemp("killed") / "out"
    trained(out, "--stages", *QUICK, "--steps", 5, "--worlds", 2, "--seeds", 0, "--signals", "SIGKILL")
    return out


@pytest.mark.parametrize("stage", QUICK)
def test_killed_on_two_ranks_it_is_the_unbroken_run(stage, short):
    """A stop request is tested on one rank in test_training_stages.py, on two in the slow tests below.

    So are the other models: they share the loop, which tests/train/test_resume.py kills and stops on two ranks.
    """
    assert_resumes_to_the_bit(short, stage, [0], ["SIGKILL"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", MODELS)
def test_at_many_moments_and_on_1_2_and_4_ranks(stage, tmp_path):
    seeds, larger = range(1, 6), [f"{stage}.training.batch=8", f"{stage}.training.micro_batch=2"]
    dropout = [f"{stage}.dropout=0.1"] if stage in ("base", "upsample") else []
    numbers = ("--steps", 40, "--worlds", 1, 2, 4, "--seeds", *seeds)
    trained(tmp_path / "out", "--stages", stage, *numbers, "--set", *larger, *dropout)
    assert_resumes_to_the_bit(tmp_path / "out", stage, seeds)
    assert_ranks_agree(tmp_path / "out", stage, 40)


@pytest.mark.slow
def test_the_base_model_sharded_is_the_replicated_one_in_the_same_file(tmp_path):
    numbers = ("--stages", "base", "--steps", 20, "--worlds", 2)
    trained(tmp_path / "whole", *numbers)
    trained(tmp_path / "sharded", *numbers, "--seeds", 1, "--set", "base.training.sharded=true")
    assert_resumes_to_the_bit(tmp_path / "sharded", "base", [1])
    (curve, model), (other_curve, other) = (
        outcome(tmp_path / name, "base", "unbroken2") for name in ("whole", "sharded")
    )
    assert [loss for _, loss, _ in other_curve] == pytest.approx([loss for _, loss, _ in curve], abs=1e-6)
    assert {name: (value.shape, value.dtype) for name, value in model.items()} == {
        name: (value.shape, value.dtype) for name, value in other.items()
    }
    records = [
        checkpoint.read(RunFolder(tmp_path / name / "base-unbroken2").stage("base") / "model.pt")
        for name in ("whole", "sharded")
    ]
    assert records[0].keys() == records[1].keys()
    assert all(records[0][name] == records[1][name] for name in ("network", "settings", "samples"))
