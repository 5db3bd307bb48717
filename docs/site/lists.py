"""The lists that stand in pages, made from what the package declares.

python docs/site/lists.py            # writes each list between `<!-- made: NAME -->` and `<!-- end -->`
python docs/site/lists.py --check    # names the pages whose lists are old, and ends with exit code 1
"""

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"^<!-- made: (?P<name>.+?) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
# Words of the pages that neither the report nor one of its questions explains.
TERMS = {
    "gallery": "The images among which a search looks.",
    "metric": "A number that compares a view with its original.",
    "original": "The view of an image without any change.",
    "pair": "An original and a variant of it that something else made, as a CDN or a scanner.",
    "question": "A part of a study with its own numbers, tables, figures and section of the report.",
    "shard": "A Parquet file with the rows of some images (64 by default, up to 1,024 where there are many).",
    "study": "The folder that a run leaves: settings, shards, tables, figures and the report.",
    "suite": "Named augmentations: `paper`, `strength`, `corruptions`, `style`, `everyday`, `copies`, or your own.",
    "threshold": "The cosine from which on two images count as the same.",
}


def written(page: str) -> str:
    """The text of a page with its lists as the package gives them now."""
    return PLACE.sub(lambda place: "\n".join((f"<!-- made: {place['name']} -->", *_list(place["name"]))), page)


def _list(name: str) -> Iterator[str]:
    yield from ("", *"\n".join(LISTS[name]()).strip().splitlines(), "", "<!-- end -->")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown, and the empty line after it."""
    yield from (f"| {' | '.join(heads)} |", "|" + "---|" * len(heads))
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""


def metrics() -> Iterator[str]:
    """Every registered metric: what is measured, range and unit, the value of an unchanged view, what asks for it."""
    from embedshift.registry import METRICS

    rows = []
    for each in (METRICS[name] for name in METRICS):
        asked = "every run"
        if each.optional:
            asked = f"`--metrics {each.needs}`" if each.asked_by == "metrics" else f"`--{each.asked_by}`"
        unit = {"": "", "encoder": ", in the encoder's unit"}.get(each.unit, f" {each.unit}")
        span = f"{_number(each.low)} to {_number(each.high)}{unit}"
        rows.append((f"`{each.name}`", each.summary, span, _number(each.no_change), asked))
    yield from table(("metric", "what it is", "range", "no change", "measured with"), rows)


def _number(value: float) -> str:
    return {"inf": "∞", "-inf": "−∞"}.get(f"{value:g}", f"{value:g}".replace("-", "−"))


def questions() -> Iterator[str]:
    """Every question with its figures."""
    from embedshift.registry import questions as declared

    rows = [(f"`{each.name}`", ", ".join(f"`{name}`" for name in each.figures) or "–") for each in declared()]
    yield from table(("question", "figures"), rows)


def glossary() -> Iterator[str]:
    """The terms of the report, of its questions and of these pages, one definition each; metrics have a list."""
    from embedshift.registry import METRICS
    from embedshift.registry import questions as declared
    from embedshift.report.own_sections import TERMS as OF_REPORTS

    terms = dict(OF_REPORTS)
    parts: Any = [getattr(question.part("section"), "PART", None) for question in declared()]
    for more in (*(part.terms for part in parts if part is not None), TERMS):
        if twice := [term for term in terms.keys() & more.keys() if terms[term] != more[term]]:
            raise SystemExit(f"two definitions of {', '.join(sorted(twice))}")
        terms |= more
    for term, words in sorted(terms.items(), key=lambda pair: pair[0].lower()):
        if term.lower().replace(" ", "_") not in METRICS:
            yield f"- **{term}**: {words}"


def claims() -> Iterator[str]:
    """Every part of the paper's claims, then what its verdicts require; parts that differ in one word share a row."""
    from embedshift.questions.claims.tables import paper_claims

    measures = "L2 distance|cosine similarity"
    statements: dict[str, list[str]] = {}
    requirements: dict[str, list[str]] = {}
    for claim in paper_claims():
        both = re.sub(rf"(mean|deviation of) ({measures})", r"\1 L2 distance, cosine similarity", claim.statement)
        both = re.sub(r"(under) \w+(?=: the entropy)", r"\1 blur, shift_scale_rotate, perspective", both)
        both = re.sub(r"(above 0\.1|above 0\.5)(?= \(intro)", "above 0.1, 0.5", both)
        both = re.sub(
            r"^with(out detail preservation| detail preservation aligned)(?=,)",
            "without detail preservation (12a), or with it aligned (12b)",
            both,
        )
        statements.setdefault(both, []).append(claim.name)
        requires = re.sub(r"\ball \d+ (?=paired)", "all ", claim.test.requires)
        requirements.setdefault(re.sub(r"\bthe \d (?=join)", "they ", requires), []).append(claim.name)
    yield from table(("part", "statement"), [(", ".join(names), words) for words, names in statements.items()])
    yield from table(
        ("part", "what the verdicts require"), [(", ".join(names), words) for words, names in requirements.items()]
    )


def examples() -> Iterator[str]:
    """The scripts and notebooks of `examples/`, with the first line of each."""
    rows = []
    for path in sorted((ROOT / "examples").glob("*.py")):
        rows.append((f"`{path.name}`", (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")))
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        words = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        rows.append((f"`{path.name}`", words.lstrip("# ")))
    yield from table(("file", "what it shows"), [(name, words.splitlines()[0]) for name, words in rows])


def paper_augmentations() -> Iterator[str]:
    """The paper's nine augmentations: what they are, and the class of albumentations and its parameters."""
    from embedshift.augmentations import VIEWS
    from embedshift.augmentations.paper import PAPER

    rows = []
    for name, (kind, settings) in PAPER.items():
        parameters = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        rows.append((f"`{name}`", VIEWS["paper"][name], f"`{kind}({parameters})`"))
    yield from table(("augmentation", "what it is", "of albumentations"), rows)


def described(suite: str) -> Iterator[str]:
    """Every change of a suite with what it is."""
    from embedshift.augmentations import load_suite

    rows = [(f"`{each.name}`", each.description) for each in load_suite(suite)]
    yield from table(("augmentation", "what it is"), rows)


def words() -> Iterator[str]:
    """The phrase of the original, and of each of the paper's augmentations."""
    from embedshift.augmentations import ORIGINAL
    from embedshift.questions.text.texts import WORDS

    rows = [("(the original)" if name == ORIGINAL else f"`{name}`", phrase) for name, phrase in WORDS.items()]
    yield from table(("augmentation", "its word"), rows)


def families() -> Iterator[str]:
    """Every family of strength with its parameter at each level; one with a black border shares a row."""
    families = {family.name: family for family, _ in _families("strength")}
    rows = []
    for name, family in families.items():
        if name.removesuffix("_black") != name:
            continue
        names = ", ".join(f"`{each}`" for each in (name, f"{name}_black") if each in families)
        levels = "–" if len(family.levels) == 1 else " ".join(map(_number, (family.zero, *family.levels)))
        rows.append((names, family.what_it_does, family.unit, levels))
    yield from table(("family", "what it does", "unit", "levels 0 to 5"), rows)


def corruptions() -> Iterator[str]:
    """Every corruption of ImageNet-C that needs no textures; what only `--families` names is marked."""
    rows = []
    for family, in_suite in _families("corruptions"):
        rows.append((f"`{family.name}`" + ("" if in_suite else " (extra)"), family.what_it_does))
    yield from table(("corruption", "what it does"), rows)


def purifiers() -> Iterator[str]:
    """Every purifier with the numbers that it takes."""
    from embedshift.augmentations.variant import PURIFIERS

    rows = []
    for name, kind in PURIFIERS.items():
        rows.append((f"`{name}`", (kind.change.__doc__ or "").splitlines()[0], kind.numbers))
    yield from table(("purifier", "what it does", "its number"), rows)


def _families(suite: str) -> Iterator[tuple[Any, bool]]:
    """The families of a suite in its order, and whether a run measures them without `--families`."""
    from embedshift.augmentations import load_suite
    from embedshift.augmentations.family import FAMILIES

    chosen = dict.fromkeys(view.level.family for view in load_suite(suite) if view.level is not None)
    others = [name for name in FAMILIES if FAMILIES[name].suite == suite and name not in chosen]
    for name in (*chosen, *others):
        yield FAMILIES[name], name in chosen


def encoders() -> Iterator[str]:
    """Every family of encoders: types, a checkpoint, its embeddings and its attention."""
    from embedshift.encoders import ENCODER_FAMILIES

    rows = []
    for family in ENCODER_FAMILIES:
        title = f"{family.title} ({', '.join(f'`{kind}`' for kind in family.model_types)})"
        found = [each.definition for each in family.embeddings]
        if len(found) > 1:
            found = [f"`{each.name}`: {each.definition}" for each in family.embeddings]
        attention = "" if family.attention == "cls" else family.attention or "the first of `cls`, `pool`, `mean`"
        rows.append((title.removesuffix(" ()"), f"`{family.example}`", "; ".join(found), attention))
    yield from table(
        ("family (`model_type`)", "for example", "embedding, the default first", "attention, if not `cls`"), rows
    )


LISTS: dict[str, Callable[[], Iterator[str]]] = {
    "metrics": metrics,
    "questions": questions,
    "glossary": glossary,
    "claims": claims,
    "augmentations of the paper": paper_augmentations,
    "augmentations of every day": lambda: described("everyday"),
    "augmentations of copies": lambda: described("copies"),
    "words of augmentations": words,
    "examples": examples,
    "families of strength": families,
    "corruptions": corruptions,
    "purifiers": purifiers,
    "encoders": encoders,
}


def main(check: bool) -> int:
    """Writes the lists of all pages, or only names the pages with old ones."""
    old = []
    for path in sorted((ROOT / "docs").glob("**/*.md")):
        page = path.read_text(encoding="utf-8")
        if (now := written(page)) != page:
            old.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(now, encoding="utf-8")
    for name in old:
        sys.stdout.write(f"{name}: {'old; run python docs/site/lists.py' if check else 'written'}\n")
    return int(check and bool(old))


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv[1:]))
