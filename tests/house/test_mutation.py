"""The mutation run finds places for bugs, and tells a bug that tests notice from one that they miss."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("mutation", ROOT / "tests" / "mutation.py")
assert SPEC
assert SPEC.loader
mutation = importlib.util.module_from_spec(SPEC)
sys.modules["mutation"] = mutation
SPEC.loader.exec_module(mutation)

SOURCE = '"""Ümlaut."""\n\n\ndef least(a, b):\n    log("ä", a)\n    return -min(a, b) if a < b and True else a + 1\n'


def test_bugs_are_small_and_parse():
    bugs = mutation.bugs_of("x.py", SOURCE)
    changed = {bug.text for bug in bugs}
    assert changed == {"pass", "(min(a, b))", "max", "(a <= b)", "False",
                       "(a - 1)", "2"}  # fmt: skip
    for bug in bugs:
        compile(bug.applied(SOURCE), "x.py", "exec")
    assert {bug.line for bug in bugs} == {5, 6}
    assert mutation.bugs_of("x.py", SOURCE, {5}) == [bug for bug in bugs if bug.line == 5]


def test_a_bug_is_noticed_or_missed_and_the_copy_is_whole_again(tmp_path):
    (tmp_path / "least.py").write_text(SOURCE.replace('    log("ä", a)\n', ""))
    good = "from least import least\ndef test_it():\n    assert least(1, 2) == -1\n"
    (tmp_path / "test_it.py").write_text(good)
    (bug,) = [bug for bug in mutation.bugs_of("least.py", (tmp_path / "least.py").read_text()) if bug.text == "max"]
    assert mutation.noticed(tmp_path, bug, ["test_it.py"])
    (tmp_path / "test_it.py").write_text(good.replace("== -1", "< 0"))
    assert not mutation.noticed(tmp_path, bug, ["test_it.py"])
    assert "max" not in (tmp_path / "least.py").read_text()


def test_a_file_has_the_tests_of_its_package():
    assert mutation.tests_of("rodin/store/shards/reader.py") == ["tests/store"]
    assert mutation.tests_of("jobs/cli/run.py") == ["tests/jobs"]
    assert mutation.tests_of("analysis/tables/quality.py") == ["tests/analysis"]
    assert mutation.tests_of("rodin/shapes.py") == ["tests"]
