"""The shape of the package: what ARCHITECTURE.md says, sizes, and who may import what."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.synthetic import make_study

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "embedshift"
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
STUDY_FOLDERS = {"shards/", "tables/", "figures/"}


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules that a file imports, by statement or by `importlib.import_module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant))


def named_in_architecture() -> set[str]:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return set(re.findall(r"`(?:src/embedshift/)?([\w/]+\.py|\w+/)`", text))


def test_architecture_names_every_module_and_package():
    top = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    top |= {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert top - named_in_architecture() == set()


def test_architecture_names_nothing_that_does_not_exist():
    gone = {name for name in named_in_architecture() if not ((PACKAGE / name).exists() or (ROOT / name).exists())}
    inside = {Path(name).name for name in FILES}
    assert gone - STUDY_FOLDERS - inside == set()


def test_architecture_is_read_in_a_minute():
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 40


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_over_300_lines(name):
    assert len(FILES[name].read_text().splitlines()) <= 300


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring and its decorators."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if is_docstring and isinstance(first.value.value, str) else 0
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.parametrize("name", FILES)
def test_no_function_is_over_60_lines(name):
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {function.name: length(function) for function in functions if length(function) > 60} == {}


def test_the_length_of_a_function_is_counted_without_its_docstring():
    made = ast.parse('@cache\ndef f(\n    x,\n):\n    """One.\n\n    Two.\n    """\n    y = x\n    return y\n')
    assert length(made.body[0]) == 5


@pytest.mark.parametrize("name", [name for name in FILES if name != "cli.py"])
def test_only_the_command_line_prints(name):
    calls = [ast.unparse(node.func) for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]
    assert set(calls) & {"print", "typer.echo", "sys.stdout.write"} == set()


@pytest.mark.parametrize("name", [name for name in FILES if name != "augmentations.py"])
def test_only_augmentations_imports_albumentations(name):
    assert [module for module in imports(TREES[name]) if module.split(".")[0] == "albumentations"] == []


def test_augmentations_does_import_albumentations():
    assert "albumentations" in set(imports(TREES["augmentations.py"]))


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("metrics/")])
def test_metrics_are_pure_functions_on_arrays(name):
    for module in imports(TREES[name]):
        top = module.split(".")[0]
        if top == "embedshift":
            assert module == "embedshift.registry" or module.startswith("embedshift.metrics")
        else:
            assert top in {"numpy", "scipy", "cv2", "collections", "dataclasses", "functools", "math", "typing"}


HEAVY = ("torch", "transformers", "ray", "open_clip")


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith(("encoders/", "engines/"))])
def test_no_module_outside_encoders_and_engines_imports_torch(name):
    assert [module for module in imports(TREES[name]) if module.split(".")[0] in HEAVY] == []


def loaded(text: str, *arguments: str) -> list[str]:
    """Which heavy packages a new process has loaded after `text`."""
    told = f"\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text + told, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_importing_embedshift_imports_no_torch():
    assert loaded("import embedshift, embedshift.cli") == []
    assert loaded("import torch") == ["torch"], "the test can see it"


def test_reading_and_rebuilding_tables_imports_no_torch(tmp_path):
    make_study(tmp_path / "study", images=3)
    text = """
import sys
import embedshift
from embedshift.questions.shape import Tree
study = embedshift.load(sys.argv[1])
study.write_tables()
assert len(study.rows().collect()) == 30
assert len(study.summary()) == 54
assert len(study.ranking()) == len(study.pairwise()) == len(study.clusters()) == 9
assert len(study.clusters(Tree(on="means", include_original=True))) == 10
assert len(study.failures()) == 0
"""
    assert loaded(text, str(tmp_path / "study")) == []
