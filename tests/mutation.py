"""Puts small bugs into changed lines, one at a time, and reports those that no test notices.

    python tests/mutation.py --since main~5 --most 20
    python tests/mutation.py --file rodin/metrics/ssim.py --tests tests/metrics

The work is done in a copy of the tree, so that the tree itself never holds a bug. Exit status 1: a bug was not noticed.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("jobs", "rodin", "analysis")
SECONDS = 280  # a test run that takes longer has noticed: the bug made something wait for ever
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in",
    ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
OPERATIONS: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "+", ast.Pow: "*",
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "argmax": "argmin", "argmin": "argmax"}


@dataclass(frozen=True)
class Bug:
    """One replacement in one file, by character offsets."""

    path: str
    line: int
    start: int
    end: int
    text: str

    def applied(self, source: str) -> str:
        return source[: self.start] + self.text + source[self.end :]


def bugs_of(path: str, source: str, lines: set[int] | None = None) -> list[Bug]:
    """Every bug that can be put into some lines of a file; None: into all."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    raw = source.encode()

    def place(line: int, column: int) -> int:
        return len(raw[: starts[line - 1] + column].decode())

    found = []
    for node in ast.walk(ast.parse(source)):
        for first, last, text in _replacements(node):
            if lines is None or first[0] in lines:
                found.append(Bug(path, first[0], place(*first), place(*last), text))
    return [bug for bug in found if bug.applied(source) != source]


def _replacements(node: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int], str]]:
    """(line, column) of the first and behind the last character, and what stands there instead."""
    if isinstance(node, ast.Compare | ast.BinOp | ast.UnaryOp | ast.Constant | ast.Call | ast.Expr | ast.Assert):
        first, last = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        sides = ast.unparse(node.left), ast.unparse(node.comparators[0])
        yield first, last, f"({sides[0]} {COMPARISONS[type(node.ops[0])]} {sides[1]})"
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        yield first, last, f"({ast.unparse(node.left)} {OPERATIONS[type(node.op)]} {ast.unparse(node.right)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield first, last, f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield first, last, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield first, last, str(node.value + 1)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
        yield first, (node.lineno, node.col_offset + len(node.func.id)), NAMES[node.func.id]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield first, last, "pass"


def changed_lines(since: str) -> dict[str, set[int]]:
    """Source files -> the lines that were added or changed since a revision, the working tree included."""
    command = ["git", "diff", "-U0", "--no-color", since, "--", *(f"{top}/*.py" for top in SOURCES)]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines: dict[str, set[int]] = {}
    path = ""
    for line in text.splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ ").removeprefix("b/")
        elif (hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))?", line)) and path != "/dev/null":
            first, count = int(hunk[1]), int(hunk[2] or 1)
            lines.setdefault(path, set()).update(range(first, first + count))
    return lines


def tests_of(path: str) -> list[str]:
    """The test folders of a source file: tests/ mirrors rodin/ by package, jobs and analysis as a whole."""
    parts = Path(path).parts
    folder = f"tests/{parts[1] if parts[0] == 'rodin' and len(parts) > 2 else parts[0]}"
    return [folder] if (ROOT / folder).is_dir() else ["tests"]


def noticed(tree: Path, bug: Bug, tests: list[str]) -> bool:
    """Whether the tests fail with a bug in the copy; the copy is whole again afterwards."""
    path = tree / bug.path
    source = path.read_text(encoding="utf-8")
    path.write_text(bug.applied(source), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=SECONDS, check=False)
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(source, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--since", default="HEAD", help="bugs go into lines changed since this revision")
    parser.add_argument("--file", action="append", help="or into any line of this file; may be repeated")
    parser.add_argument("--tests", nargs="*", help="test folders; default: those that mirror the file")
    parser.add_argument("--most", type=int, default=20, help="bugs at most, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    options = parser.parse_args()
    places = {path: None for path in options.file} if options.file else changed_lines(options.since)
    bugs = [bug for path, lines in places.items() for bug in bugs_of(path, (ROOT / path).read_text(), lines)]
    random.Random(options.seed).shuffle(bugs)
    missed = 0
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__", ".*_cache"))
        for bug in sorted(bugs[: options.most], key=lambda bug: (bug.path, bug.line)):
            seen = noticed(tree, bug, options.tests or tests_of(bug.path))
            missed += not seen
            was = (ROOT / bug.path).read_text()[bug.start : bug.end]
            print(f"{'noticed' if seen else 'MISSED '}  {bug.path}:{bug.line}: {was!r} -> {bug.text!r}", flush=True)
    print(f"{len(bugs[: options.most])} bugs, {missed} missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
