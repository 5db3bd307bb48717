"""How large the package is: lines by room, files, functions, docstrings, imports and extremes, in one or two revisions.

usage: python benchmarks/lines.py REVISION [REVISION]

A room is a folder or file of `src/embedshift`. Lines are those of Python, with those of templates beside them.
"""

import ast
import subprocess
from collections import Counter

from bench import ROOT, arguments, print_head, print_row

PACKAGE = "src/embedshift/"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def main() -> None:
    options = arguments(__doc__, "revision", "other?")
    revisions = [files_of(str(revision)) for revision in (options.revision, options.other) if revision]
    rooms = sorted({room_of(path) for files in revisions for path in files})
    print_head("room", *("lines, templates" for _ in revisions))
    for room in [*rooms, "all"]:
        print_row(room, *(lines_of(files, room) for files in revisions))
    measures = [measures_of(files) for files in revisions]
    for name in measures[0]:
        print_row(name, *(measure[name] for measure in measures))


def files_of(revision: str) -> dict[str, str]:
    """Path below the package → text, of Python files and templates."""
    git = ["git", "-C", str(ROOT)]
    listed = subprocess.run([*git, "ls-tree", "-r", "--name-only", revision, PACKAGE], capture_output=True, check=True)
    paths = [path for path in listed.stdout.decode().split() if path.endswith((".py", ".j2", ".html", ".js", ".css"))]
    return {
        path.removeprefix(PACKAGE): subprocess.run(
            [*git, "show", f"{revision}:{path}"], capture_output=True, check=True
        ).stdout.decode()
        for path in paths
    }


def room_of(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "questions" and len(parts) > 2 else parts[0]


def lines_of(files: dict[str, str], room: str) -> str:
    lines: Counter[bool] = Counter()
    for path, text in files.items():
        if room in ("all", room_of(path)):
            lines[path.endswith(".py")] += text.count("\n")
    return f"{lines[True]:,}" + (f", {lines[False]:,}" if lines[False] else "")


def measures_of(files: dict[str, str]) -> dict[str, str]:
    """The extremes of all Python files, and what the type checker is kept from."""
    trees = {path: ast.parse(text) for path, text in files.items() if path.endswith(".py")}
    functions = {
        f"{path}: {node.name}, line {node.lineno}": node
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    longest = max(functions, key=lambda name: length(functions[name]))
    widest = max(functions, key=lambda name: width(functions[name]))
    file = max(trees, key=lambda path: files[path].count("\n"))
    names = Counter(
        node.id for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "Any"
    )
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    documented = [node for node in nodes if isinstance(node, DOCUMENTED) and ast.get_docstring(node)]
    return {
        "files": f"{len(trees)}",
        "files below 40 lines": str(sum(files[path].count("\n") < 40 for path in trees)),
        "functions": f"{len(functions):,}",
        "docstring lines": f"{sum(span(node.body[0]) for node in documented):,}",
        "import lines": f"{sum(span(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)):,}",
        "longest file": f"{files[file].count(chr(10))}, {file}",
        "longest function without docstring": f"{length(functions[longest])}, {longest}",
        "widest signature": f"{width(functions[widest])}, {widest}",
        "`Any`": str(names["Any"]),
        "`type: ignore`": str(sum(files[path].count("# type: ignore") for path in trees)),
    }


def span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return span(function) - (span(function.body[0]) if ast.get_docstring(function) else 0)


def width(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return len(function.args.posonlyargs) + len(function.args.args) + len(function.args.kwonlyargs)


if __name__ == "__main__":
    main()
