"""The reference of tables names every column of every table, and no other."""

import re

import pytest

from embedshift.augmentations import load_suite
from embedshift.questions.heads import tables as heads
from embedshift.questions.maps import tables as maps
from embedshift.questions.meaning import tables as meaning
from embedshift.questions.power import tables as power
from embedshift.questions.text import tables as text
from embedshift.questions.variance import tables as variance
from embedshift.questions.worst_case import tables as worst
from embedshift.registry import QUESTIONS, questions
from embedshift.store.table import tables_of
from support import studies
from support.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "tables.md").read_text().partition("## Questions")[0]
# Tables with a column for each augmentation.
SQUARE = ("pairwise", "directions", "directions_of_images")
# Tables that no made study has, by what they are made of.
DECLARED = {
    "chains": QUESTIONS["chains"].part("tables").SCHEMA,
    "gallery_copies": QUESTIONS["search"].part("copies").SCHEMA,
    "head_words": heads.WORDS_SCHEMA,
    "head_tokens": heads.TOKENS_SCHEMA,
    "index": QUESTIONS["index"].part("tables").SCHEMA,
    "maps": maps.MAPS,
    "map_trust": maps.TRUST,
    "meaning": meaning.SCHEMA,
    "power": power.SCHEMA,
    "text_search": text.SCHEMA,
    "threshold": QUESTIONS["threshold"].part("tables").SCHEMA,
    "threshold_curve": QUESTIONS["threshold"].part("tables").CURVE_SCHEMA,
    "zero_shot": text.CLASSES_SCHEMA,
    "variance": variance.SCHEMA,
    "worst": worst.WORST_SCHEMA,
    "purify": worst.PURIFY_SCHEMA,
}


def described():
    """Table → the columns that its row of the page names; ± stands for two more."""
    found = {}
    for row in re.findall(r"^\| (`.+) \|$", PAGE, re.MULTILINE):
        heads, *_, cell = row.split(" | ")
        names = re.findall(r"`([a-z_0-9]+)`( ±)?", cell)
        columns = {f"{name}{end}" for name, more in names for end in (("", "_low", "_high") if more else ("",))}
        found |= dict.fromkeys(re.findall(r"`(\w+)`", heads), columns)
    return found


@pytest.mark.slow
def test_every_table_has_its_columns_in_the_reference():
    graded = [view for view in load_suite("corruptions") if view.level is not None][:10]
    both = (studies.every(), studies.synthetic(10, graded))
    made = {name: study.table(name).columns for study in both for name in study.table_names} | DECLARED
    named_here = described()
    assert set(made) >= {table.name for table in tables_of(questions())} | {"summary", "ranking", "differences"}
    for name, columns in made.items():
        expected = {"augmentation"} if name in SQUARE else set(columns)
        assert named_here[name] == expected, name
