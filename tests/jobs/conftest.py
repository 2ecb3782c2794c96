"""The launcher's tests run the command line of a copy of our code whose stages do nothing but obey."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.obedient import Rodin, obedient_tree


@pytest.fixture(scope="session")
def fake_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return obedient_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def rodin(fake_tree: Path, tmp_path: Path) -> Rodin:
    return Rodin(fake_tree, tmp_path)


@pytest.fixture
def touched() -> Callable[[Path], set[str]]:
    """What lies under a folder: a test that nothing was written compares it before and after."""

    def listing(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*")}

    return listing
