"""What every test stands on."""

import os
import signal
from collections.abc import Iterator

import pytest

# A shell that starts us in the background leaves SIGINT ignored, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two processes a core would stand in each other's way; those that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hundreds of processes that tests start would each compile the whole suite again where this is set.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many workers as cores, up to four; tests of a real Slurm share one small cluster and come one by one."""
    return 0 if config.option.markexpr.startswith(("slurm", "chaos")) else min(4, len(os.sched_getaffinity(0)))


SLOW_SECONDS = 3600  # of a test marked slow: a busy machine takes ten times what a quiet one does

# The files that take longest, half a minute and more of a core each. xdist hands out whole files, those with most tests
# first: a worker would end alone with one of these, which have few.
LONGEST = (
    "tests/jobs/launch/test_local.py",
    "tests/generate/test_readme_commands.py",
    "tests/stages/test_uses.py",
    "tests/stages/training/test_training_stages.py",
    "tests/generate/test_api.py",
    "tests/generate/test_marked_files.py",
    "tests/stages/training/test_training_killed.py",
    "tests/train/test_resume.py",
    "tests/avatars/test_blender.py",
    "tests/analysis/study/test_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; `--no-loadscope-reorder` keeps xdist to this order. Slow tests have an hour."""
    if without := [item for item in items if item.get_closest_marker("gpu")]:
        import torch

        for item in without if not torch.cuda.is_available() else []:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU and a build of torch for it"))
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
    ranks = {file: number for number, file in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@pytest.fixture(autouse=True)
def _signals_unblocked() -> Iterator[None]:
    """A test that leaves a signal blocked keeps it from all later tests of the worker, and from what they start."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before, "this test left signals blocked"


# One small run, trained once a worker for every test that uses its models. Imported late: most tests need no torch.


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    from fixtures import trained_run

    return trained_run.train(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def sampled(trained):
    from fixtures import trained_run

    return trained_run.draw_samples(trained)


@pytest.fixture
def copy(trained, tmp_path):
    from fixtures import trained_run

    return trained_run.copy_models(trained, tmp_path)


@pytest.fixture
def small_pictures(monkeypatch):
    """What is shown of an avatar where nobody says a size: two small pictures in place of a turntable."""
    from rodin.generate import look

    monkeypatch.setattr(look, "SHOWN", look.SMALLEST)
    monkeypatch.setattr(look, "TURNTABLE", 2)


@pytest.fixture(scope="session")
def avatars(trained):
    from fixtures import trained_run

    return trained_run.load_avatars(trained)
