"""The launcher's tests run the command line of a copy of our code whose stages do nothing but obey."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.finished_graph import finish_graph
from fixtures.obedient import Rodin, obedient_tree

from rodin.presets import preset


@pytest.fixture(scope="session")
def fake_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return obedient_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def rodin(fake_tree: Path, tmp_path: Path) -> Rodin:
    return Rodin(fake_tree, tmp_path)


@pytest.fixture
def plain(rodin: Rodin) -> tuple[str, str]:
    """Arguments of a site whose stages are one process each: what is said of ranks has tests of its own."""
    site = rodin.cwd / "plain.toml"
    cpus = min(2, len(os.sched_getaffinity(0)))
    site.write_text(f"name = 'local'\nmpi = 'none'\ncpus_per_node = {cpus}\nranks_per_node = 1\ntrain_cpus = 1\n")
    return "--site", str(site)


@pytest.fixture(scope="session")
def finished_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `tiny` whose stages are all done, to be copied."""
    real, os.fsync = os.fsync, lambda handle: None  # hundreds of files
    try:
        return finish_graph(tmp_path_factory.mktemp("finished"), preset("tiny")).path
    finally:
        os.fsync = real


@pytest.fixture
def touched() -> Callable[[Path], set[str]]:
    """What lies under a folder: a test that nothing was written compares it before and after."""

    def listing(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*")}

    return listing
