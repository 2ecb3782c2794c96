"""A private Slurm for the tests, started once; or the one that SLURM_CONF names already."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import private_slurm
from fixtures.obedient import Rodin, obedient_tree


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    if os.environ.get("SLURM_CONF"):
        yield {"SLURM_CONF": os.environ["SLURM_CONF"], "PATH": private_slurm.search_path()}
        return
    folder, environment = private_slurm.start()
    yield environment
    private_slurm.stop(folder)


@pytest.fixture(scope="session")
def obedient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return obedient_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def slurm(cluster: dict[str, str], obedient: Path, tmp_path: Path) -> Rodin:
    """The launcher with obedient stages, on the real Slurm."""
    return Rodin(obedient, tmp_path, cluster)
