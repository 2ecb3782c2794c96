"""pyproject.toml, constraints.txt and environment.yml tell of the same versions."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def wanted() -> dict[str, Requirement]:
    lines = [
        *project()["dependencies"],
        *(line for extra in project()["optional-dependencies"].values() for line in extra),
    ]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def pins(lines: list[str]) -> dict[str, str]:
    """name -> version of lines that must each be name==version."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", line)
        assert match, f"{line!r} is not name==version"
        name = canonicalize_name(match[1])
        assert name not in found, f"{name} is pinned twice"
        found[name] = match[2]
    return found


def constrained() -> dict[str, str]:
    text = (ROOT / "constraints.txt").read_text()
    return pins([line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")])


def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def conda_pip() -> list[str]:
    return next(part["pip"] for part in environment()["dependencies"] if isinstance(part, dict))


def test_every_dependency_is_constrained():
    assert sorted(wanted().keys() - constrained().keys()) == []


def test_constraints_satisfy_pyproject():
    for name, requirement in wanted().items():
        assert requirement.specifier.contains(constrained()[name]), f"{requirement} against {constrained()[name]}"


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_torch_is_exact_everywhere(name: str):
    assert str(wanted()[name].specifier) == f"=={constrained()[name]}"


def test_conda_has_the_same_packages_at_the_same_versions():
    lines = [line for line in conda_pip() if not line.startswith("-")]
    assert pins(lines) == {name: constrained()[name] for name in wanted()}
    assert "-c constraints.txt" in conda_pip()


def test_python_is_the_same():
    versions = [
        part.removeprefix("python=") for part in environment()["dependencies"] if str(part).startswith("python=")
    ]
    assert len(versions) == 1
    assert SpecifierSet(project()["requires-python"]).contains(f"{versions[0]}.0")
