"""Makes the parts of pages that the package itself declares, so that they cannot go stale.

MkDocs calls the functions whose names begin with `on_`. A page asks for a part by a comment of its own line,
`<!-- made: command line -->`.
"""

import ast
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Pages of the repository's root that the site has too.
OUTSIDE = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
MADE = re.compile(r"^<!-- made: (.+?) -->$", re.MULTILINE)
# Words of the pages that no question of the report explains.
TERMS = {
    "image": "What a study measures: a file, a row of a table, or a member of an archive. It has an id.",
    "original": "The view of an image without any change, at the size that the encoder reads.",
    "augmentation": "A change of an image, for example a blur. What is random in it is drawn for each view.",
    "suite": "A named set of augmentations: `paper`, `strength`, `corruptions`, `style`, or your own.",
    "shift": "How far, and which way, the embedding of a view lies from that of its original.",
    "relative shift": "The shift as a fraction of the distance to another image: 0 = unchanged, 1 = as far as that.",
    "metric": "A number that compares a view with its original.",
    "study": "The folder that a run leaves: settings, shards, tables, figures and the report.",
    "shard": "A Parquet file with the rows of some images (64 by default). It is written whole or not at all.",
    "row": "The numbers of one image, view and draw.",
    "table": "What is computed from the rows, for example `summary`; a CSV and a Parquet file.",
    "report": "`report.html`: one page with the answers, figures and tables of a study.",
    "question": "A part of a study with its own numbers, tables, figures and section of the report.",
    "gallery": "The images among which a search looks.",
    "pair": "An original and a variant of it that something else made, as a CDN or a scanner.",
    "threshold": "The cosine from which on two images count as the same.",
}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of the repository's root, in the folder `project`."""
    from mkdocs.structure.files import File

    for name in OUTSIDE:
        files.append(File.generated(config, f"project/{name.lower()}", content=_outside(name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its parts made, and with links to pages of the root that lead to their copies."""
    for name in OUTSIDE:
        markdown = markdown.replace(f"](../{name}", f"](project/{name.lower()}")
    return MADE.sub(lambda found: "\n".join(PARTS[found[1]]()), markdown)


def _outside(name: str) -> str:
    """A page of the root with its links as they are from `project/`."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](../", text)
    for other in OUTSIDE:
        text = text.replace(f"]({other}", f"]({other.lower()}")
    return text


def command_line() -> Iterator[str]:
    """Every command with its arguments and options, panel by panel, from the Typer app."""
    import typer

    from embedshift.cli import app

    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        yield from (f"## embedshift {name}", "", str(command.help), "")
        yield from ("```text", _usage(name, command), "```", "")
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        if arguments:
            rows = [(f"`{_metavar(each)}`", each.help, "required" if each.required else "") for each in arguments]
            yield from _table(("argument", "meaning", ""), rows)
        for panel, options in _panels(command).items():
            yield from (f"### {panel}", "", "")
            yield from _table(("option", "value", "meaning"), [_option(each) for each in options])


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


def metrics() -> Iterator[str]:
    """Every registered metric: what is measured, unit, range, the value of an unchanged view, and what asks for it."""
    from embedshift.registry import METRICS

    rows = []
    for each in (METRICS[name] for name in METRICS):
        asked = f"`--{each.asked_by}`" if each.optional else "every run"
        unit = {"": "–", "encoder": "the encoder's own"}.get(each.unit, each.unit)
        span = f"{_number(each.low)} to {_number(each.high)}"
        rows.append((f"`{each.name}`", each.summary, unit, span, _number(each.no_change), asked))
    yield from _table(("metric", "what it is", "unit", "range", "no change", "measured with"), rows)


def metrics_of_every_run() -> Iterator[str]:
    """The metrics that no option asks for, with the value of an unchanged view."""
    from embedshift.registry import METRICS

    shown = [metric for metric in (METRICS[name] for name in METRICS) if not metric.optional]
    rows = [(f"`{metric.name}`", metric.summary, _number(metric.no_change)) for metric in shown]
    yield from _table(("metric", "what it is", "no change"), rows)


def _number(value: float) -> str:
    return {"inf": "∞", "-inf": "−∞"}.get(f"{value:g}", f"{value:g}".replace("-", "−"))


def questions() -> Iterator[str]:
    """Every question with its tables and its figures."""
    from embedshift.registry import questions as declared
    from embedshift.store.table import tables_of

    rows = []
    for each in declared():
        tables = ", ".join(f"`{table.name}`" for table in tables_of([each]))
        rows.append((f"`{each.name}`", each.sentence, tables or "–", ", ".join(f"`{name}`" for name in each.figures)))
    yield from _table(("question", "what it asks", "tables", "figures"), rows)


def tables() -> Iterator[str]:
    """Every table of the questions as a method of `Study`, with what it holds and the settings it takes."""
    from embedshift.store.table import installed_tables

    rows = []
    for name, (question, table) in installed_tables().items():
        fields = [] if question.choices is None else dataclasses.fields(question.choices)
        rows.append((f"`{name}()`", table.doc, ", ".join(f"`{field.name}`" for field in fields) or "–"))
    yield from _table(("method", "what it returns", "settings"), rows)


def glossary() -> Iterator[str]:
    """The terms of the report, of its questions and of these pages, one definition each."""
    from embedshift.registry import questions as declared
    from embedshift.report.glossary import TERMS as OF_REPORTS

    terms = {term: (words, "") for term, words in OF_REPORTS.items()}
    for question in declared():
        part: Any = getattr(question.part("section"), "PART", None)
        for term, words in (part.terms if part is not None else {}).items():
            terms.setdefault(term, (words, question.sentence))
    terms |= {term: (words, "") for term, words in TERMS.items()}
    for term, (words, sentence) in sorted(terms.items(), key=lambda pair: pair[0].lower()):
        yield f"- **{term}**: {words}" + (f" *({sentence})*" if sentence else "")


def claims() -> Iterator[str]:
    """Every part of the paper's claims, and what its two verdicts require."""
    from embedshift.questions.claims.paper import paper_claims

    yield from _table(
        ("part", "statement", "what the verdicts require"),
        [(claim.name, claim.statement, claim.test.requires) for claim in paper_claims()],
    )


def paper_augmentations() -> Iterator[str]:
    """The paper's nine augmentations with the class of albumentations and its parameters."""
    from embedshift.augmentations.paper import PAPER

    rows = []
    for name, (kind, settings) in PAPER.items():
        parameters = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        rows.append((f"`{name}`", f"`{kind}({parameters})`"))
    yield from _table(("augmentation", "of albumentations"), rows)


def words() -> Iterator[str]:
    """The phrase of the original, and of each of the paper's augmentations."""
    from embedshift.augmentations import ORIGINAL
    from embedshift.questions.text.texts import WORDS

    rows = [("(the original)" if name == ORIGINAL else f"`{name}`", phrase) for name, phrase in WORDS.items()]
    yield from _table(("augmentation", "its word"), rows)


def examples() -> Iterator[str]:
    """The scripts and notebooks of `examples/`: the first line of each, and of scripts the whole text."""
    folder = ROOT / "examples"
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        title = (ast.get_docstring(ast.parse(text)) or path.stem).splitlines()[0]
        yield from (f"### {path.name}", "", title, "", f"```sh\npython examples/{path.name}\n```", "")
        yield from (
            '??? note "The script"',
            "    ```python",
            *(f"    {line}" for line in text.splitlines()),
            "    ```",
            "",
        )
    for path in sorted(folder.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        words = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), path.stem)
        yield from (f"### {path.name}", "", words.splitlines()[0].lstrip("# "), "")


def families() -> Iterator[str]:
    """Every family of strength with its parameter at each level; those that only `--families` names stand last."""
    rows = []
    for family, _ in _families("strength"):
        levels = "–" if len(family.levels) == 1 else " ".join(_number(level) for level in family.levels)
        rows.append((f"`{family.name}`", _what_it_does(family), family.unit, _number(family.zero), levels))
    yield from _table(("family", "what it does", "unit", "level 0", "levels 1 to 5"), rows)


def corruptions() -> Iterator[str]:
    """Every corruption of ImageNet-C that needs no textures; what only `--families` names is marked."""
    rows = []
    for family, in_suite in _families("corruptions"):
        rows.append((f"`{family.name}`", _what_it_does(family), "" if in_suite else "extra"))
    yield from _table(("corruption", "what it does", ""), rows)


def purifiers() -> Iterator[str]:
    """Every purifier with the numbers that it takes."""
    from embedshift.augmentations.purifiers import PURIFIERS

    rows = []
    for name, kind in PURIFIERS.items():
        rows.append((f"`{name}`", (kind.change.__doc__ or "").splitlines()[0], kind.numbers))
    yield from _table(("purifier", "what it does", "its number"), rows)


def _families(suite: str) -> Iterator[tuple[Any, bool]]:
    """The families of a suite in its order, and whether a run measures them without `--families`."""
    from embedshift.augmentations import load_suite
    from embedshift.augmentations.family import FAMILIES

    chosen = dict.fromkeys(view.grade.family for view in load_suite(suite) if view.grade is not None)
    others = [name for name in FAMILIES if FAMILIES[name].suite == suite and name not in chosen]
    for name in (*chosen, *others):
        yield FAMILIES[name], name in chosen


def _what_it_does(family: Any) -> str:
    """The first line of the docstring of the function that changes the image, or its name."""
    change = family.change
    function = next(getattr(change, name) for name in ("draw", "mask", "source") if hasattr(change, name))
    words = (function.__doc__ or f"{family.name.replace('_', ' ').capitalize()}.").splitlines()[0]
    words = words.removeprefix("Returns ")
    return words[0].upper() + words[1:]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown, and the empty line after it."""
    yield from (f"| {' | '.join(heads)} |", "|" + "---|" * len(heads))
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "command line": command_line,
    "metrics": metrics,
    "metrics of every run": metrics_of_every_run,
    "questions": questions,
    "tables": tables,
    "glossary": glossary,
    "claims": claims,
    "augmentations of the paper": paper_augmentations,
    "words of augmentations": words,
    "examples": examples,
    "families of strength": families,
    "corruptions": corruptions,
    "purifiers": purifiers,
}


def encoders() -> Iterator[str]:
    """Every family of encoders: types, a checkpoint, its embeddings and its attention."""
    from embedshift.encoders import FAMILIES

    rows = []
    for family in FAMILIES:
        title = f"{family.title} ({', '.join(f'`{kind}`' for kind in family.model_types)})"
        found = [each.definition for each in family.embeddings]
        if len(found) > 1:
            found = [f"`{each.name}`: {each.definition}" for each in family.embeddings]
        attention = family.attention or "`cls`, else `pool`, else `mean`"
        rows.append((title.removesuffix(" ()"), f"`{family.example}`", "; ".join(found), attention))
    yield from _table(("family (`model_type`)", "for example", "embedding, the default first", "attention"), rows)


PARTS["encoders"] = encoders
