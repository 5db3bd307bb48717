"""The first screen of the page: the answers of the questions, and which differences are significant."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from embedshift.config import Json
from embedshift.report.numbers import times
from embedshift.report.page import fill
from embedshift.report.section import Answer, PageInput, Section, parts_of_page
from embedshift.statistics.differences import ordered
from embedshift.statistics.families import ONE_LEVEL
from embedshift.statistics.summary import COSINE, ROUNDING

# Position of the answer on differences among those of the questions.
DIFFERENCES = 40


@dataclass(frozen=True)
class _FilledAnswer:
    order: int
    answer: Answer
    html: Markup

    @property
    def title(self) -> str:
        return self.answer.title


def first_screen(page: PageInput) -> Section:
    """Returns the section with all answers that have something to say."""
    answers = sorted(_filled(page), key=lambda filled: (not filled.answer.covers_all_levels, filled.order))
    one_level = page.data.shows_one_level
    if one_level and any(filled.answer.covers_all_levels for filled in answers):
        answers = [filled for filled in answers if filled.answer.covers_all_levels]
    content = {
        "answers": answers,
        "figure": next((filled.answer.figure for filled in answers if filled.answer.figure), None),
        "one_level": ONE_LEVEL if one_level else "",
        "images": page.data.images,
        "groups": page.info.groups,
    }
    return Section("answer", "Main results", content)


def _filled(page: PageInput) -> list[_FilledAnswer]:
    filled = []
    for question, part in parts_of_page(page.reader.questions):
        answer = part.answer(page) if part.answer else None
        if answer is not None:
            html = fill(f"{question.name}/answer.html.j2", answer.content)
            filled.append(_FilledAnswer(question.order, answer, html))
    differences = Answer("Which differences are statistically significant?", _differences(page))
    filled.append(_FilledAnswer(DIFFERENCES, differences, fill("differences.html.j2", differences.content)))
    return [answer for answer in filled if answer.html.strip()]


def _differences(page: PageInput) -> Json:
    data = page.data
    return differences_content(data.table("differences"), data.by_shift(), data.units_with(COSINE), data.unit)


def differences_content(
    differences: pl.DataFrame | None, order: Sequence[str], images: int, unit: str = "image"
) -> Json:
    """Returns which pairs of augmentations differ significantly in how far they move the embedding."""
    content: Json = {
        "augmentations": len(order),
        "images": images,
        "unit": unit,
        "is_tested": differences is not None,
    }
    if differences is None or len(order) < 2:
        return content
    by_pairs = ordered(differences, COSINE, order)
    pairs = list(itertools.combinations(by_pairs.names, 2))
    told_apart = [pair for pair in pairs if pair in by_pairs.significant and pair in by_pairs.ratios]
    cosine = differences.filter(pl.col("metric") == COSINE)["difference"]
    return content | {
        "any_difference": not (cosine.fill_null(0.0).abs() < ROUNDING).all(),
        "pairs": len(pairs),
        "open_pairs": [pair for pair in pairs if pair not in by_pairs.significant],
        "ratio": (*told_apart[0], *times(*by_pairs.ratios[told_apart[0]])) if told_apart else None,
        "without_ratio": len(pairs) - len(by_pairs.ratios) // 2,
    }
