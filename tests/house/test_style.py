"""The house style that a reader relies on: small files and functions, no printing, nothing of one machine."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("jobs", "rodin", "analysis")
MOST_LINES, MOST_STATEMENTS = 300, 40
NEVER = {"yaml.load", "pickle.load", "pickle.loads", "eval", "exec", "os.system"}
VAGUE = {"utils", "util", "helpers", "common", "manager", "registry", "factory", "misc"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tracked() -> list[Path]:
    """Every file of the repository, new ones too."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.splitlines() if (path := ROOT / name).is_file()]


def python(*tops: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in tops]


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))


def where(path: Path, node: ast.AST | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{node.lineno}" if node is not None else "")  # type: ignore[attr-defined]


def statements(function: Function) -> int:
    """Statements of a function, inner ones included, its docstring not."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return sum(isinstance(node, ast.stmt) for part in body for node in ast.walk(part))


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in nodes(path):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_statements_are_counted_right():
    source = 'def f(x):\n    """Doc."""\n    for y in x:\n        if y:\n            return 1\n    return 2\n'
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert statements(function) == 4


def test_files_are_short():
    lengths = {where(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python(*SOURCES, "tests")}
    assert len(lengths) > 20
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_functions_are_short():
    long = {
        f"{where(path, node)} {node.name}": statements(node)
        for path in python(*SOURCES, "tests")
        for node in nodes(path)
        if isinstance(node, Function) and statements(node) > MOST_STATEMENTS
    }
    assert long == {}


def test_every_module_says_what_it_is():
    filled = [path for path in python(*SOURCES) if path.stat().st_size]
    silent = [where(path) for path in filled if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_the_library_prints_nothing():
    assert [
        where(path, node) for path in python("rodin", "analysis") for name, node in calls(path) if name == "print"
    ] == []


def test_in_jobs_only_the_command_line_and_log_lines_print():
    """Workers print to their job's log; `print_error` writes the one error line of commands and workers."""
    of_jobs = ("worker", "element", "task", "guard", "resubmit")
    log_lines = {"jobs/run/progress.py", *(f"jobs/launch/{name}.py" for name in of_jobs)}
    errors = "jobs/run/failures.py"
    printing: dict[str, list[str]] = {}
    for path in python("jobs"):
        for name, node in calls(path):
            if name in ("print", "sys.stdout.write", "sys.stderr.write", "typer.echo", "rich.print"):
                printing.setdefault(where(path), []).append(ast.unparse(node))
    elsewhere = {name for name in printing if not name.startswith("jobs/cli/")}
    assert elsewhere <= log_lines | {errors}
    assert [text for texts in printing.values() for text in texts if "error:" in text] == printing[errors]


def test_no_vague_names():
    assert [
        where(path) for path in python(*SOURCES, "tests") if VAGUE & {path.stem, *path.relative_to(ROOT).parts}
    ] == []


def test_what_is_loaded_cannot_run_code():
    found = []
    for path in python(*SOURCES):
        for name, node in calls(path):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            unsafe = {
                "torch.load": given.get("weights_only") != "True",
                "np.load": given.get("allow_pickle", "False") != "False",
            }
            if name in NEVER or unsafe.get(name, False) or given.get("shell") == "True":
                found.append(f"{where(path, node)} {name}")
    assert found == []


def test_nothing_names_a_registry_or_this_machine():
    words = [
        r"pypi\.org",
        r"pythonhosted",
        r"download\.pytorch\.org/whl",
        r"conda\.anaconda",
        r"index-url",
        r"artifactory",
    ]
    words += [r"/work/(main|shared|\.)", r"/opt/venvs", r"/tmp/contract", r"/root/"]
    pattern = re.compile("|".join(words))
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or b"\0" in (data := path.read_bytes())[:4096]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{where(path)}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize("top", ["rodin/field", "rodin/diffusion", "rodin/nets"])
def test_the_science_names_its_sources(top: str):
    sources = [
        path
        for path in python("rodin")
        if where(path).startswith(top) and "Source:" in path.read_text(encoding="utf-8")
    ]
    assert sources


def test_test_files_have_names_of_their_own():
    tests = [path for path in python("tests") if path.name.startswith("test_")]
    assert len({path.name for path in tests}) == len(tests)
    assert [where(path) for path in python("tests") if path.name == "__init__.py"] == []


def test_every_cited_requirement_is_in_the_table():
    """Ids such as (R25), in docstrings and config fields, are rows of rodin/PAPER.md."""
    table = (ROOT / "rodin" / "PAPER.md").read_text(encoding="utf-8")
    known: set[int] = set()
    for cell in re.findall(r"^\| (R[^|]+)\|", table, re.MULTILINE):
        for first, last in re.findall(r"R(\d+)(?:–R(\d+))?", cell):
            known |= set(range(int(first), int(last or first) + 1))
    cited = {
        int(number)
        for path in python(*SOURCES)
        for node in nodes(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for number in re.findall(r"\bR(\d{1,2})\b", node.value)
    }
    assert len(cited) > 40
    assert sorted(cited - known) == []


def bare_number(value: ast.AST | None) -> bool:
    """Whether an expression is numbers only: 3, (1, 2), 2 * 10**3."""
    allowed = (ast.Constant, ast.Tuple, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)
    parts = list(ast.walk(value)) if value is not None else []
    constants = [part.value for part in parts if isinstance(part, ast.Constant)]
    numbers = [one for one in constants if isinstance(one, int | float) and not isinstance(one, bool)]
    return bool(numbers) and len(numbers) == len(constants) and all(isinstance(part, allowed) for part in parts)


def test_every_number_says_its_unit_or_why():
    """A constant has a comment on its line or above it, or a docstring below."""
    silent = []
    for path in python(*SOURCES):
        lines, body = path.read_text().splitlines(), ast.parse(path.read_text()).body
        for node, following in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.Assign | ast.AnnAssign) and bare_number(node.value):
                documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                commented = any("#" in lines[number] for number in (node.lineno - 2, node.lineno - 1))
                silent += [] if documented or commented else [where(path, node)]
    assert silent == []


def test_the_files_that_tests_begin_with_are_there():
    text = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    named = re.findall(r'^    "(tests/.*\.py)",$', text, re.MULTILINE)
    assert len(named) > 3
    assert [name for name in named if not (ROOT / name).is_file()] == []
