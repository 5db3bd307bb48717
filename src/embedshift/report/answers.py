"""The first screen of the page: the answers of the questions, and which differences are significant."""

import itertools
import math
from collections.abc import Sequence

import polars as pl

from embedshift.augmentations.family import FAMILIES
from embedshift.config import Json
from embedshift.figures.style import human
from embedshift.report.numbers import times, with_interval
from embedshift.report.page import fill
from embedshift.report.section import Answer, PageInput, Section, parts_of_page
from embedshift.statistics.differences import ordered
from embedshift.statistics.intervals import PLANNED
from embedshift.statistics.strengths import ONE_LEVEL
from embedshift.statistics.summary import COSINE, ROUNDING

# Position of the answer on differences among those of the questions.
DIFFERENCES = 40


def first_screen(page: PageInput) -> Section:
    answers = sorted(_filled(page), key=lambda answer: (not answer["covers_all_levels"], answer["order"]))
    one_level = page.data.shows_one_level
    if one_level and any(answer["covers_all_levels"] for answer in answers):
        answers = [answer for answer in answers if answer["covers_all_levels"]]
    content = {
        "answers": answers,
        "changes": changes(page),
        "one_level": ONE_LEVEL if one_level else "",
        "images": page.data.images,
        "groups": page.info.groups,
    }
    return Section("answer", "Main results", content)


def changes(page: PageInput) -> list[Json]:
    summary = page.data.need("summary").filter(metric=COSINE).drop_nulls("mean").sort("mean", maintain_order=True)
    family_of = {view: family for family in page.reader.families for view in family.views}
    keys = ("relative_shift", "relative_shift_low", "relative_shift_high")
    longest = 1.02 * max([1.0, *(row[key] or 0.0 for row in summary.iter_rows(named=True) for key in keys)])
    changes: dict[str, Json] = {}
    # What is said of several alike, such as that another program made them, tells none from the others.
    is_distinct = len(summary) == 1 or len({*page.info.descriptions.values()}) > 1
    descriptions = page.info.descriptions if is_distinct else {}
    for row in summary.iter_rows(named=True):
        family = family_of.get(row["augmentation"])
        name, words = row["augmentation"], descriptions.get(row["augmentation"], "")
        if family:
            name, words = human(family.name), FAMILIES[family.name].what_it_does if family.name in FAMILIES else ""
        empty = {"name": name, "what": words.removesuffix("."), "another": 100 / longest, "places": [], "shifts": []}
        change = changes.setdefault(name, empty)
        change["places"].append([None if row[key] is None else 100 * max(0.0, row[key]) / longest for key in keys])
        change["shifts"].append(with_interval(*(row[key] for key in keys)))
    return list(changes.values())


def _filled(page: PageInput) -> list[Json]:
    parts = [(question, part.answer) for question, part in parts_of_page(page.reader.questions) if part.answer]
    answers = [(question.order, f"{question.name}/answer.html.j2", answer(page)) for question, answer in parts]
    differences = Answer("Which differences are statistically significant?", _differences(page))
    filled: list[Json] = [
        {"order": order, "html": fill(template, answer.content)} | vars(answer)
        for order, template, answer in [*answers, (DIFFERENCES, "differences.html.j2", differences)]
        if answer is not None
    ]
    return [answer for answer in filled if answer["html"].strip()]


def _differences(page: PageInput) -> Json:
    data = page.data
    return differences_content(data.table("differences"), data.by_shift(), data.units_with(COSINE), data.unit)


def differences_content(
    differences: pl.DataFrame | None, order: Sequence[str], images: int, unit: str = "image"
) -> Json:
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
    open_pairs = [pair for pair in pairs if pair not in by_pairs.significant]
    # The interval of a logarithm of a ratio becomes narrower by the root of the number of images.
    needed = [
        images * PLANNED * (math.log(high / low) / 2 / math.log(ratio)) ** 2
        for ratio, low, high in (by_pairs.ratios[pair] for pair in open_pairs if pair in by_pairs.ratios)
        if 0 < low < high and ratio != 1
    ]
    cosine = differences.filter(pl.col("metric") == COSINE)["difference"]
    return content | {
        "any_difference": not (cosine.fill_null(0.0).abs() < ROUNDING).all(),
        "pairs": len(pairs),
        "open_pairs": open_pairs,
        # As `order` is by means, and `told_apart` by ratios.
        "contrary": [pair for pair in told_apart if order.index(pair[0]) > order.index(pair[1])],
        "more_images": [(more * images, sum(count <= more * images for count in needed)) for more in (4, 25)],
        "ratio": (*told_apart[0], *times(*by_pairs.ratios[told_apart[0]])) if told_apart else None,
        "without_ratio": len(pairs) - len(by_pairs.ratios) // 2,
    }
