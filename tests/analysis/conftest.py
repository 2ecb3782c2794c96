"""A run folder as the stages leave it, and its report, once for all tests."""

from pathlib import Path

import pytest
from fixtures import finished_rows, finished_stores

from analysis.report.report import write_report
from rodin.store.run_folder import RunFolder


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    path = tmp_path_factory.mktemp("runs") / "full"
    path.mkdir()
    write_run(path)
    return path


@pytest.fixture(scope="session")
def report_path(full_run: Path) -> Path:
    """The finished run's page, written once for all tests; tables and figures come with it."""
    return write_report(full_run)


@pytest.fixture(scope="session")
def page(report_path: Path) -> str:
    """The text of that page."""
    return report_path.read_text(encoding="utf-8")


@pytest.fixture
def empty_run(tmp_path: Path) -> Path:
    """A run that has its config and nothing else."""
    run = tmp_path / "empty"
    run.mkdir()
    finished_stores.write_config(run)
    return run


def write_run(path: Path) -> None:
    """Everything the stages would write."""
    run = RunFolder(path)
    finished_stores.write_config(path)
    finished_stores.write_views(run)
    finished_stores.write_samples(run)
    finished_stores.write_rebuilt(run)
    finished_rows.write_quality(run)
    finished_rows.write_evaluation(run)
    finished_rows.write_costs(run)
    finished_rows.write_retrieval(run)
    finished_rows.write_sweeps(run)
    finished_stores.write_sweep(run)
    finished_stores.write_upsamplers(run)
    finished_stores.write_edit(run)
    finished_stores.write_meshes(run)
    finished_stores.write_shown(run)  # last: it is of all that is there
