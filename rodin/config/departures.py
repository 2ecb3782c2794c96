"""Departures from the paper, collected from the package's docstrings.

MARK in a docstring begins a departure or an addition; FIELD_MARK in a field docstring of the config marks a field
without a value in the paper. The source is parsed, not imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
MARK, FIELD_MARK = "Ours" + ":", "(ours)"  # in two parts, so that a search for the mark does not find this line
NEXT_SECTION = re.compile(r"\n\s*\n|\n\s*[A-Z][a-z]+:(?=\s)|Source:")  # ends the text of a departure
Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Departure:
    """One departure from the paper, or addition to it.

    Args:
        where: file and line, such as `rodin/nets/base.py:24`.
        name: the module, class, function or config field that the docstring describes.
        text: the departure in one line.
    """

    where: str
    name: str
    text: str


def departures(package: Path = PACKAGE) -> list[Departure]:
    """All departures in a package's docstrings, then those in its config's field docstrings.

    Args:
        package: folder of the package; its parent is the root of the paths in `where`.
    """
    marked, fields = [], []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        place = path.relative_to(package.parent)
        module = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
        marked += [
            Departure(f"{place}:{node.lineno + before.count(chr(10))}", name, text)
            for name, node, docstring in _docstrings(tree, module)
            for before, text in _marked(docstring)
        ]
        if path.parent == package / "config":
            fields += [
                Departure(f"{place}:{node.lineno}", name, _one_line(docstring.replace(FIELD_MARK, "")))
                for name, node, docstring in _field_docstrings(tree)
                if FIELD_MARK in docstring
            ]
    return marked + fields


def _docstrings(tree: ast.Module, module: str) -> Iterator[tuple[str, ast.Expr, str]]:
    """(name, node, text) of each docstring of a module, its classes and functions, in source order."""

    def visit(scope: Scope, prefix: str) -> Iterator[tuple[str, ast.Expr, str]]:
        first = scope.body[0] if scope.body else None
        if (text := _text(first)) is not None and isinstance(first, ast.Expr):
            yield prefix or module, first, text
        for node in ast.walk(scope):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and parents[node] is scope:
                yield from visit(node, f"{prefix}.{node.name}".lstrip("."))

    parents = _scopes(tree)
    yield from visit(tree, "")


def _scopes(tree: ast.Module) -> dict[ast.AST, Scope]:
    """The innermost module, class or function around each node."""
    scopes: dict[ast.AST, Scope] = {}

    def visit(node: ast.AST, scope: Scope) -> None:
        for child in ast.iter_child_nodes(node):
            scopes[child] = scope
            visit(child, child if isinstance(child, Scope) else scope)

    visit(tree, tree)
    return scopes


def _field_docstrings(tree: ast.Module) -> Iterator[tuple[str, ast.Expr, str]]:
    """(Class.field, node, text) of each text that follows an annotated field of a class."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.ClassDef):
            continue
        for field, node in zip(scope.body, scope.body[1:], strict=False):
            text = _text(node)
            if isinstance(field, ast.AnnAssign) and isinstance(node, ast.Expr) and text is not None:
                yield f"{scope.name}.{ast.unparse(field.target)}", node, text


def _text(node: ast.AST | None) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def _marked(docstring: str) -> Iterator[tuple[str, str]]:
    """(text before the mark, departure in one line) of each MARK of a docstring."""
    parts = docstring.split(MARK)
    before = parts[0]
    for part in parts[1:]:
        yield before, _one_line(NEXT_SECTION.split(part, maxsplit=1)[0])
        before += MARK + part


def _one_line(text: str) -> str:
    return " ".join(text.split())
