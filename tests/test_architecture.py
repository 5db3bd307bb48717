"""The shape of the package: sizes, what ARCHITECTURE.md says, the walls, and what a new process imports.

Layers and rooms are rules of `.importlinter`, which `make lint` holds.
"""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grimp
import pytest

from embedshift.config import BUNDLED

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "embedshift"
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
QUESTIONS = sorted(path.name for path in (PACKAGE / "questions").iterdir() if (path / "__init__.py").is_file())


@functools.cache
def nodes() -> dict[str, list[ast.AST]]:
    return {name: [*ast.walk(ast.parse(path.read_text()))] for name, path in FILES.items()}


def imports(name: str) -> Iterator[str]:
    """Full names of the modules that a file imports, by statement or by `importlib.import_module`."""
    for node in nodes()[name]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant))


def test_architecture_is_read_in_a_minute_and_names_every_room_and_nothing_else():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert len(text.splitlines()) <= 70
    assert "```mermaid" in text
    named = set(re.findall(r"`(?:src/embedshift/)?([\w/]+\.py|\w+/)`", text))
    top = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    top |= {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert len(top) <= 20
    assert top | {f"{name}/" for name in QUESTIONS} <= named
    inside = {path.name for path in FILES.values()} | {f"{path.parent.name}/" for path in FILES.values()}
    assert named - {"shards/", "tables/", "figures/"} <= inside


def test_what_the_benchmark_of_broken_promises_breaks_stands_once_in_the_code():
    nodes = ast.walk(ast.parse((ROOT / "benchmarks" / "breaks.py").read_text()))
    breaks = [call.args for call in nodes if isinstance(call, ast.Call) and ast.unparse(call.func) == "Break"]
    assert len(breaks) == 30
    for promise, file, code, *_ in ([ast.literal_eval(argument) for argument in arguments] for arguments in breaks):
        assert (PACKAGE / file).read_text().count(code) == 1, promise


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring and its decorators."""
    first, docstring = function.body[0], 0
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        docstring = first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.slow
def test_no_file_is_over_600_lines_and_no_function_over_60():
    files = [path for room in ("src", "tests", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 300
    assert [path for path in files if len(path.read_text().splitlines()) > 600] == []
    functions = [
        (name, node)
        for name, inside in nodes().items()
        for node in inside
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > len(FILES)
    assert [(name, node.name) for name, node in functions if length(node) > 60] == []


def test_no_module_imports_itself_by_a_detour():
    """Neither at the top of a file, nor inside a function, nor for the type checker alone."""
    graph = grimp.build_graph("embedshift", exclude_type_checking_imports=False, cache_dir=None)
    found = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert len(found) == len(FILES)
    graphlib.TopologicalSorter(found).prepare()  # raises CycleError, and names the modules


def test_a_question_is_declared_with_the_registry_and_the_standard_library_alone():
    modules = {(name, module) for name in QUESTIONS for module in imports(f"questions/{name}/__init__.py")}
    assert len(modules) > len(QUESTIONS)
    for name, module in modules:
        assert module == "embedshift.registry" or module.split(".")[0] in sys.stdlib_module_names, name


def outside_the_command_line(is_meant: Callable[[ast.AST], bool]) -> list[str]:
    """The files that hold what is meant, other than those of the command line and of the questions' commands."""
    files = [name for name, inside in nodes().items() if any(map(is_meant, inside))]
    assert any(name.startswith("cli/") for name in files), "what is meant is seen"
    return sorted(
        name for name in files if not name.startswith("cli/") and not name.endswith(("/command.py", "/grids.py"))
    )


def test_only_the_command_line_prints_and_says_flags():
    def is_print(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "sys.stdout.write")

    def is_flag(node: ast.AST) -> bool:
        said = isinstance(node, ast.Constant) and isinstance(node.value, str)
        return said and re.search(r"(?<![\w-])--(?!help)[a-z]", node.value) is not None

    assert outside_the_command_line(is_print) == []
    # A model card and a report quote commands, for readers who have neither.
    assert outside_the_command_line(is_flag) == ["report/next_steps.py"]


def test_the_name_of_the_bundled_encoder_albumentations_and_gradio_are_each_in_one_file():
    def is_name(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and str(node.value).endswith(BUNDLED)

    assert [name for name, inside in nodes().items() if any(map(is_name, inside))] == ["config/__init__.py"]
    for package, file in (("albumentations", "augmentations/transforms.py"), ("gradio", "app/page.py")):
        assert [name for name in FILES if package in {each.split(".")[0] for each in imports(name)}] == [file]


# What a new process imports.

HEAVY = ("torch", "transformers", "ray", "open_clip")
TO_MEASURE = (*HEAVY, "polars", "pyarrow", "matplotlib", "plotly")
TO_HELP = (*HEAVY, "pydantic", "scipy", "cv2", "polars", "pyarrow", "numpy", "matplotlib")
HELP = """
import sys
from embedshift.cli import main
for line in ("--help", "run --help", "report --help", "--version"):
    sys.argv = ["embedshift", *line.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "not_loaded"),
    [
        ("import embedshift; embedshift.run; import embedshift.cli", HEAVY),
        (HELP, TO_HELP),
        ("from embedshift.registry import METRICS; assert len(METRICS)", TO_MEASURE),
    ],
    ids=["the package", "help", "measures"],
)
def test_what_a_new_process_waits_for(text, not_loaded):
    told = f"\nimport sys\nprint([name for name in {(*not_loaded, 'embedshift')} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text + told], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['embedshift']"
