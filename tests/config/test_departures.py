"""The list of departures from the paper holds all that docstrings mark, with their whole text and right place."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli.app import status_of
from rodin.config.departures import departures

ROOT = Path(__file__).parents[2]
FOUND = departures()


def grep(pattern: str, folder: str) -> list[str]:
    """file:line of each match of a pattern in a folder's source."""
    places = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            places += [f"{path.relative_to(ROOT)}:{number}"] * len(re.findall(pattern, line))
    return places


def test_all_departures_of_docstrings_are_listed_where_they_stand():
    assert sorted(one.where for one in FOUND if not one.where.startswith("rodin/config/")) == sorted(
        place for place in grep("Ours:", "rodin") if not place.startswith("rodin/config/")
    )


def test_all_config_fields_of_our_own_are_listed():
    fields = [place for place in grep(r"\(ours\)\"\"\"", "rodin/config")]
    listed = [one for one in FOUND if one.where.startswith("rodin/config/")]
    assert len(fields) > 50
    assert len(listed) == len(fields) + len(grep("Ours:", "rodin/config"))
    by_name = {one.name: one for one in listed}
    assert by_name["Fit.retries"].text == "tries after the first"
    assert by_name["Fit.retries"].where in grep("tries after the first", "rodin/config")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("rodin/diffusion/", ["no learned variance"]),
        ("rodin/nets/base.py", ["first and last convolution", "3D-aware"]),
        ("rodin/evaluation/comparison.py", ["Table 1", "over white", "8 bit", "conditioning view"]),
    ],
)
def test_known_departures_are_among_them(file: str, words: list[str]):
    texts = [one.text for one in FOUND if one.where.startswith(file)]
    assert any(all(word in text for word in words) for text in texts), texts


def test_texts_are_whole_sentences_in_one_line():
    for one in FOUND:
        assert "\n" not in one.text
        assert len(one.text.split()) >= 2, one
        assert not re.search(r"Ours:|Source:|\(ours\)|Returns:|Args:", one.text), one


SOURCE = '''"""A module. Ours: of the module."""


class Net:
    """A net.

    Source: paper. Ours: the first
    goes on; and on.
    Ours: the second.

    Args:
        x: not of it.
    """

    def forward(self):
        """Forward. Ours: inside a method. Source: not of it.

        Ours: after a blank
        line.

        Not of it.
        """

        def inner():
            """Ours: of an inner function."""


class Section:
    """Fields."""

    steps: int
    """optimiser steps
    at most (ours)"""
    rays: int
    """rays of a step (R3)"""
'''


def test_a_small_package(tmp_path: Path):
    package = tmp_path / "small"
    (package / "config").mkdir(parents=True)
    (package / "config" / "__init__.py").write_text(SOURCE)
    (package / "other.py").write_text('x: int\n"""a field elsewhere (ours)"""\n')
    assert [(one.where, one.name, one.text) for one in departures(package)] == [
        ("small/config/__init__.py:1", "small.config", "of the module."),
        ("small/config/__init__.py:7", "Net", "the first goes on; and on."),
        ("small/config/__init__.py:9", "Net", "the second."),
        ("small/config/__init__.py:16", "Net.forward", "inside a method."),
        ("small/config/__init__.py:18", "Net.forward", "after a blank line."),
        ("small/config/__init__.py:25", "Net.forward.inner", "of an inner function."),
        ("small/config/__init__.py:32", "Section.steps", "optimiser steps at most"),
    ]


def test_the_command_prints_one_line_each(capsys: pytest.CaptureFixture[str]):
    assert status_of(["departures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{one.where}: {one.name}: {one.text}" for one in FOUND]
    assert status_of(["departures", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["where"], row["name"], row["text"]) for row in rows] == [
        (one.where, one.name, one.text) for one in FOUND
    ]


def test_the_list_needs_no_torch():
    code = "import sys; from rodin.config.departures import departures; departures(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
