"""The shape of the package: sizes, what ARCHITECTURE.md says, the walls, and what a new process imports."""

import ast
import functools
import graphlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grimp
import pytest

from embedshift.config import BUNDLED
from support.matrix import first_only
from support.synthetic import make_study

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "embedshift"
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
QUESTIONS = sorted(path.name for path in (PACKAGE / "questions").iterdir() if (path / "__init__.py").is_file())
STUDY_FOLDERS = {"shards/", "tables/", "figures/"}


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


# What a reader sees first.


def test_the_root_holds_twenty_rooms_at_most():
    no_rooms = {"__pycache__", "__init__.py", "__main__.py", "py.typed"}
    assert len({path.name for path in PACKAGE.iterdir()} - no_rooms) <= 20


def test_what_the_benchmark_of_broken_promises_breaks_stands_once_in_the_code():
    nodes = ast.walk(ast.parse((ROOT / "benchmarks" / "breaks.py").read_text()))
    breaks = [call.args for call in nodes if isinstance(call, ast.Call) and ast.unparse(call.func) == "Break"]
    assert len(breaks) == 10
    for promise, file, code, *_ in ([ast.literal_eval(argument) for argument in arguments] for arguments in breaks):
        assert (PACKAGE / file).read_text().count(code) == 1, promise


def named_in_architecture() -> set[str]:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return set(re.findall(r"`(?:src/embedshift/)?([\w/]+\.py|\w+/)`", text))


def test_architecture_names_every_file_and_room_of_the_root():
    top = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    top |= {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    top |= {f"{name}/" for name in QUESTIONS}
    assert top - named_in_architecture() == set()


def test_architecture_names_nothing_that_does_not_exist():
    inside = {path.name for path in FILES.values()} | {f"{path.parent.name}/" for path in FILES.values()}
    assert named_in_architecture() - STUDY_FOLDERS - inside == set()


def test_architecture_is_read_in_a_minute():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert len(text.splitlines()) <= 70
    assert "```mermaid" in text


@pytest.mark.parametrize("room", ["src", "tests", "benchmarks"])
def test_no_file_is_over_600_lines(room):
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in (ROOT / room).rglob("*.py")}
    assert len(lengths) > 10
    assert {path: lines for path, lines in lengths.items() if lines > 600} == {}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring and its decorators."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if is_docstring and isinstance(first.value.value, str) else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_no_function_is_over_60_lines():
    functions = {
        (name, node.name): length(node)
        for name, inside in nodes().items()
        for node in inside
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(functions) > len(FILES)
    assert {name: lines for name, lines in functions.items() if lines > 60} == {}


def test_the_length_of_a_function_is_counted_without_its_docstring():
    made = ast.parse('@cache\ndef f(\n    x,\n):\n    """One.\n\n    Two.\n    """\n    y = x\n    return y\n')
    assert length(made.body[0]) == 5


# The walls.


def lint(folder: Path) -> str:
    """What import-linter says of the package in a folder, by the rules of the project."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return " ".join(done.stdout.split())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its rules, to break."""
    shutil.copytree(PACKAGE, tmp_path / "embedshift", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def test_the_rules_of_import_linter_are_held(copy):
    assert re.search(r"Contracts: \d+ kept, 0 broken", lint(copy))


BREACHES = {
    "No circle: each layer imports those below it": ("store/shards.py", "import embedshift.figures"),
    "The core knows no question": ("runner.py", "import embedshift.questions.claims.tables"),
    "No question imports another": ("questions/text/tables.py", "import embedshift.questions.claims.tables"),
    "What comes after the shards": ("questions/layers/tables.py", "import embedshift.questions.layers.measure"),
    "What comes before the shards": ("pipeline/shard.py", "import embedshift.store.reader"),
    "A measure takes arrays": ("questions/layers/measure.py", "import polars"),
    "Tables and sums draw nothing": ("questions/claims/tables.py", "import matplotlib"),
    "Only encoders, engines and observers import torch": ("statistics/maps.py", "def f():\n    import torch"),
}


@pytest.mark.matrix
@pytest.mark.slow
def test_every_rule_can_be_broken(copy):
    for name, line in BREACHES.values():
        file = copy / "embedshift" / name
        file.write_text(f"{file.read_text()}\n{line}\n")
    report = lint(copy)
    assert "Contracts: 0 kept, 8 broken" in report
    assert all(re.search(f"{re.escape(rule)}[^.]*? BROKEN", report) for rule in BREACHES)


def test_no_module_imports_itself_by_a_detour():
    """Neither at the top of a file, nor inside a function, nor for the type checker alone."""
    graph = grimp.build_graph("embedshift", exclude_type_checking_imports=False, cache_dir=None)
    found = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert len(found) == len(FILES)
    graphlib.TopologicalSorter(found).prepare()  # raises CycleError, and names the modules
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(found | {"embedshift.errors": {"embedshift.api"}}).prepare()


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_declared_with_the_registry_and_the_standard_library_alone(name):
    for module in imports(f"questions/{name}/__init__.py"):
        assert module == "embedshift.registry" or module.split(".")[0] in sys.stdlib_module_names


def in_the_command_line_and(is_meant: Callable[[ast.AST], bool]) -> list[str]:
    """The files other than the command line's that hold what is meant."""
    files = [name for name, inside in nodes().items() if any(map(is_meant, inside))]
    assert any(name.startswith("cli/") for name in files), "what is meant is seen"
    return sorted(name for name in files if not name.startswith("cli/"))


def test_only_the_command_line_prints():
    printing = {"print", "typer.echo", "sys.stdout.write"}
    assert in_the_command_line_and(lambda n: isinstance(n, ast.Call) and ast.unparse(n.func) in printing) == []


def test_only_the_command_line_says_flags():
    def is_flag(node: ast.AST) -> bool:
        said = isinstance(node, ast.Constant) and isinstance(node.value, str)
        return said and re.search(r"(?<![\w-])--(?!help)[a-z]", node.value) is not None

    # A model card quotes the command that repeats a study, for readers who have neither.
    assert in_the_command_line_and(is_flag) == ["study/card.py"]


def test_the_name_of_the_bundled_encoder_is_written_once():
    def is_name(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and str(node.value).endswith(BUNDLED)

    assert [name for name, inside in nodes().items() if any(map(is_name, inside))] == ["config/__init__.py"]


def importing(package: str) -> set[str]:
    return {name for name in FILES if package in {each.split(".")[0] for each in imports(name)}}


def test_only_one_file_imports_albumentations():
    assert importing("albumentations") == {"augmentations/transforms.py"}


def test_only_the_page_imports_gradio():
    assert importing("gradio") == {"app/page.py"}


# What a new process imports.

HEAVY = ("torch", "transformers", "ray", "open_clip")
TO_MEASURE = (*HEAVY, "polars", "pyarrow", "matplotlib", "plotly")
TO_HELP = (*HEAVY, "pydantic", "scipy", "cv2", "polars", "pyarrow", "numpy", "matplotlib")


def loaded(text: str, *arguments: str, of: tuple[str, ...] = HEAVY) -> list[str]:
    """Which of some packages a new process has loaded after `text`."""
    told = f"\nimport sys\nprint([name for name in {of} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text + told, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_importing_embedshift_imports_no_torch():
    imported = "import embedshift; embedshift.run; import embedshift.cli.commands"
    assert loaded(imported, of=(*HEAVY, "embedshift")) == ["embedshift"]


@pytest.mark.slow
@pytest.mark.parametrize("command", first_only(["--help", "run --help", "report --help", "--version"]))
def test_help_waits_for_nothing_heavy(command):
    text = f"""
import sys
from embedshift.cli import main
sys.argv = ["embedshift", *{command.split()}]
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    assert loaded(text, of=TO_HELP) == []


@pytest.mark.slow
def test_measures_import_no_tables_and_no_figures():
    assert loaded("from embedshift.registry import METRICS; assert len(METRICS)", of=TO_MEASURE) == []


@pytest.mark.matrix
@pytest.mark.slow
def test_reading_and_rebuilding_tables_imports_no_torch(tmp_path):
    make_study(tmp_path / "study", images=3)
    text = """
import sys
import embedshift
from embedshift.questions.clusters import Tree
study = embedshift.load(sys.argv[1])
study.write_tables()
assert len(study.rows().collect()) == 30
assert len(study.summary()) == 54
assert len(study.ranking()) == len(study.pairwise()) == len(study.clusters()) == 9
assert len(study.clusters(Tree(on="means", include_original=True))) == 10
assert len(study.failures()) == 0
"""
    assert loaded(text, str(tmp_path / "study")) == []
