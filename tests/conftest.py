"""What every test stands on."""

import os
import signal

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


@pytest.fixture(scope="session")
def avatars(trained):
    from fixtures import trained_run

    return trained_run.load_avatars(trained)
