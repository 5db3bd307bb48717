"""Makes the site's copies of pages outside `docs`, and the two references that only the site has.

MkDocs calls the functions whose names begin with `on_`. A page asks for a reference by a comment of its own line,
`<!-- at build: command line -->`; `lists.py` writes the lists that stand in the pages themselves.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lists import table  # beside this file; MkDocs looks there

ROOT = Path(__file__).parents[2]
# Pages outside `docs` that the site has too.
OUTSIDE = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/VERIFIED.md")
AT_BUILD = re.compile(r"^<!-- at build: (.+?) -->$", re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages outside `docs`, in the folder `project`."""
    from mkdocs.structure.files import File

    for name in OUTSIDE:
        files.append(File.generated(config, _copy(name), content=_outside(name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its parts made, and with links to pages outside `docs` that lead to their copies."""
    for name in OUTSIDE:
        markdown = markdown.replace(f"](../{name}", f"]({_copy(name)}")
    return AT_BUILD.sub(lambda found: "\n".join(PARTS[found[1]]()), markdown)


def _copy(name: str) -> str:
    return f"project/{Path(name).name.lower()}"


def _outside(name: str) -> str:
    """A page outside `docs` with its links as they are from `project/`."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](../", text)
    for other in OUTSIDE:
        text = text.replace(f"]({other}", f"]({other.lower()}")
    return text


def command_line() -> Iterator[str]:
    """Every command with its arguments and options, panel by panel, from the Typer app."""
    from embedshift.cli import commands

    for name, command in commands().items():
        yield from (f"## embedshift {name}", "", str(command.help), "")
        yield from ("```text", _usage(name, command), "```", "")
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        if arguments:
            rows = [(f"`{_metavar(each)}`", each.help, "required" if each.required else "") for each in arguments]
            yield from table(("argument", "meaning", ""), rows)
        for panel, options in _panels(command).items():
            yield from (f"### {panel}", "", "")
            yield from table(("option", "value", "meaning"), [_option(each) for each in options])


def _usage(name: str, command: Any) -> str:
    arguments = [_metavar(each) for each in command.params if each.param_type_name == "argument"]
    return " ".join(("embedshift", name, *arguments, "[OPTIONS]"))


def _metavar(parameter: Any) -> str:
    """What stands for an argument; several values have dots."""
    name = str(parameter.metavar or parameter.name.upper())
    return name if parameter.nargs == 1 or name.endswith("...") else f"{name}..."


def _panels(command: Any) -> dict[str, list[Any]]:
    """The options of a command by the panel of `--help` in which they stand."""
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(parameter)
    return panels


def _option(option: Any) -> tuple[str, str, str]:
    """Its flags, its value and its meaning, with the default where the words do not have it."""
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f"`{option.metavar or _kind(option)}`"
    words = option.help or ""
    if option.required:
        words = f"{words} Required."
    elif not option.is_flag and option.default not in (None, "") and "Default:" not in words:
        words = f"{words} Default: {option.default}."
    return flags, value, words


def _kind(option: Any) -> str:
    """What kind of value an option takes; older versions of Typer have it from click."""
    made = getattr(option, "type_descriptor", None)
    name = option.type.name if made is None else getattr(made.annotation, "__name__", "text")
    return {"int": "INTEGER", "str": "TEXT"}.get(name, name.upper())


def tables() -> Iterator[str]:
    """Every table of the questions as a method of `Study`, with what it holds and the settings it takes."""
    from embedshift.store.table import installed_tables

    rows = []
    for name, (question, declared) in installed_tables().items():
        fields = [] if question.choices is None else dataclasses.fields(question.choices)
        rows.append((f"`{name}()`", declared.doc, ", ".join(f"`{field.name}`" for field in fields) or "–"))
    yield from table(("method", "what it returns", "settings"), rows)


PARTS: dict[str, Callable[[], Iterator[str]]] = {"command line": command_line, "tables": tables}
