"""What README, CONTRIBUTING and the messages of the code tell a user to type exists; links lead somewhere."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import typer.main

from jobs.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "slurm").rglob("*.md"))]
COMMAND = typer.main.get_command(app)


def commands(page: Path) -> Iterator[str]:
    """Every command of a page's shell blocks, comments off, `&&` and `;` taken apart."""
    for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;", re.sub(r"(^|\s)#.*", "", line).removeprefix("$ ")):
                if part.strip():
                    yield part.strip()


def anchors(page: Path) -> set[str]:
    """Names under which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def backticked() -> Iterator[tuple[str, str]]:
    """(where, words) of every `rodin …` that a text of the code or a page tells of in backticks."""
    for path in [*PAGES, *(path for top in ("jobs", "rodin", "analysis") for path in (ROOT / top).rglob("*.py"))]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            parts = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
            text = "\n".join(part for part in parts if isinstance(part, str))
        for words in re.findall(r"`rodin ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", text):
            yield str(path.relative_to(ROOT)), words


def resolve(words: list[str]) -> tuple[object, list[str]]:
    """The command that words name, and what is left of them."""
    here, rest = COMMAND, list(words)
    while rest and hasattr(here, "commands"):
        assert rest[0] in here.commands, f"rodin has no command '{rest[0]}'; there are {', '.join(here.commands)}"
        here = here.commands[rest.pop(0)]
    return here, rest


def check_rodin(words: list[str]) -> None:
    command, rest = resolve(words)
    command.make_context("rodin", rest)  # type: ignore[attr-defined]


def check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        for extra in re.findall(r"^\.\[(.+)\]$", word):
            assert set(extra.split(",")) <= extras.keys()
    for option, value in pairwise(words):
        assert option not in ("-c", "-r") or (ROOT / value).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path):
    tops = {path.name for path in ROOT.iterdir()}
    for line in commands(page):
        words = shlex.split(line)
        if words[0] == "rodin" and not {"-h", "--help"} & set(words):
            check_rodin(words[1:])
        if words[0] == "pip":
            check_pip(words[1:])
        for word in words:
            if word.split("/")[0] in tops and "/" in word and not any(letter in word for letter in "*<>$"):
                assert (ROOT / word.rstrip("/")).exists(), f"{page.name}: {line}: there is no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_the_first_command_is_the_demo():
    lines = list(commands(ROOT / "README.md"))
    assert lines[:3] == ["pip install -c constraints.txt -e '.[demo]'", "rodin weights fetch lpips", "rodin run demo"]


def test_every_package_has_a_room():
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    rooms = {name for line in rows for name in re.findall(r"`([\w/]+)`", line.split("|")[1])}
    parts = [path.parent for top in ("jobs", "rodin", "analysis") for path in (ROOT / top).rglob("*/__init__.py")]
    assert {str(part.relative_to(ROOT)) for part in parts} <= rooms
    assert [room for room in rooms if not (ROOT / room).is_dir()] == []


def test_messages_name_commands_that_exist():
    found = list(backticked())
    assert found
    wrong = []
    for place, words in found:
        try:
            resolve(words.split())
        except AssertionError as problem:
            wrong.append(f"{place}: {problem}")
    assert wrong == []


def test_a_wrong_command_is_noticed():
    with pytest.raises(AssertionError, match="no command 'rum'"):
        check_rodin(["rum", "demo"])
    with pytest.raises(Exception, match="No such option"):
        check_rodin(["run", "demo", "--nonsense"])
