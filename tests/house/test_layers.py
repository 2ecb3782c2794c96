"""Imports point down only, and each heavy dependency has one door: import-linter's contracts of pyproject.toml."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def contracts() -> list[dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_contracts_hold():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(contracts())} kept, 0 broken" in done.stdout


def test_every_package_has_a_layer():
    layers = next(contract["layers"] for contract in contracts() if contract["type"] == "layers")
    placed = {name.strip() for layer in layers for name in layer.split("|")}
    parts = {
        path.stem for path in (ROOT / "rodin").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert {f"rodin.{part}" for part in parts - {"__init__"}} <= placed


def test_every_heavy_dependency_has_a_contract():
    guarded = {name for contract in contracts() for name in contract.get("forbidden_modules", ())}
    assert {"torch", "h5py", "open_clip", "mpi4py", "lpips", "bpy", "submitit"} <= guarded
