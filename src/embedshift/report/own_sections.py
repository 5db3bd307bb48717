"""The page's own sections: the answers, the settings and data, and the glossary."""

import itertools
import json
import math
import shlex
from collections.abc import Container, Sequence

import polars as pl
from markupsafe import Markup

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.registry import Question
from embedshift.report.next_steps import shown_command
from embedshift.report.numbers import count, shorten, times
from embedshift.report.page import fill
from embedshift.report.section import Answer, PageInput, Section, parts_of_page
from embedshift.sources.base import Failure
from embedshift.statistics.intervals import OF_ONE, critical_value
from embedshift.statistics.power import times_more
from embedshift.statistics.strengths import ONE_LEVEL, families_of
from embedshift.statistics.summary import COSINE, ROUNDING, ordered, paired_logarithms
from embedshift.store.baselines import measurements
from embedshift.store.grouping import copies, copies_line
from embedshift.store.info import StudyInfo
from embedshift.store.listing import study_checksum
from embedshift.store.naming import ImageNaming
from embedshift.store.shards import ShardRecord

# Position of the answer on differences among those of the questions.
DIFFERENCES = 40

# Entries that are listed; others are only counted, so that the page does not grow with the number of images.
LISTED_FAILURES = 50
LISTED_PATHS = 5
LISTED_PARTS = 200

ATTENTION = {
    "cls": "the last layer's weights from the CLS token to the patches, mean over heads",
    "pool": "the attention-pooling head's weights to the patches, mean over heads",
    "mean": "the last layer's weights to the patches, mean over heads and over all query tokens",
}

# What every page has; questions add their own.
TERMS = {
    "augmentation": "A kind of change of an image, for example a blur. Its random parameters are drawn for each view.",
    "encoder": "The network that turns an image into an embedding.",
    "embedding": "The vector that an encoder outputs for an image. Similar images have embeddings with a small angle.",
    "view": "One copy of an image as the encoder gets it: the original, or changed by an augmentation.",
    "draw": "One random realisation of an augmentation on an image. A study may use several draws.",
    "other images": "Pairs of two different images of the set: all pairs, or pairs drawn at random.",
    "baseline": "The mean of a metric over pairs of different images: a view at it is as far away as another image.",
    "relative shift": "The shift as a fraction of the distance to another image: 0 = unchanged, 1 = as far as that.",
    "interval": "A 95 % confidence interval, made to contain the true value in 95 % of studies of such images. Where a "
    "few images decide, fewer do: 79 to 89 % with 8 images and heavy tails.",
    "significant": "The simultaneous 95 % interval of a difference does not contain 0, or that of a ratio 1.",
    "paired": "Compared image by image. An image that is hard under both augmentations does not widen the interval.",
    "simultaneous": "Of several intervals: made so that, with a probability of 95 %, all contain their true values.",
}
CORRECTED = {
    "Which of two augmentations changes a metric more": "Corrected over all pairs of augmentations of one metric, but "
    "not over the metrics.",
    "Intervals of single means and relative shifts": "Not corrected: each interval is made for 95 % by itself.",
    "What embedshift compare calls significant": "Corrected over all augmentations of one metric and study, and their "
    "mean, but not over metrics or studies. The interval of the mean is made for 95 % by itself.",
    "Which augmentations embedshift compare calls apart": "Corrected: one joint test for each study, then all of them.",
    "What rules of embedshift check decide": "Failures: corrected for all rules with a reference (Holm).",
}


def answers(page: PageInput) -> Section:
    """Returns one sentence for each question, and the reasons behind it."""
    filled = sorted(_filled(page), key=lambda answer: (not answer["covers_all_levels"], answer["order"]))
    one_level = page.data.shows_one_level
    if one_level and any(answer["covers_all_levels"] for answer in filled):
        filled = [answer for answer in filled if answer["covers_all_levels"]]
    return Section("answers", "Answers", {"answers": filled, "one_level": ONE_LEVEL if one_level else ""})


def _filled(page: PageInput) -> list[Json]:
    parts = [(question, part.answer) for question, part in parts_of_page(page.reader.questions) if part.answer]
    answers = [(question.order, f"{question.name}/answer.html.j2", answer(page)) for question, answer in parts]
    differences = Answer("Which differences are statistically significant?", _differences(page))
    filled: list[Json] = [
        {"order": order} | vars(answer) | _first_sentence(fill(template, answer.content))
        for order, template, answer in [*answers, (DIFFERENCES, "differences.html.j2", differences)]
        if answer is not None
    ]
    return [answer for answer in filled if answer["lead"]]


def _first_sentence(text: Markup) -> Json:
    """Splits an answer into its first paragraph and the others."""
    lead, _, why = str(text).strip().partition("</p>")
    return {"lead": Markup(f"{lead}</p>" if lead else ""), "why": Markup(why.strip())}


def _differences(page: PageInput) -> Json:
    data = page.data
    table, critical = data.table("differences"), OF_ONE
    if table is not None and COSINE in (sample := measurements(page.reader)).distances:
        critical = critical_value(paired_logarithms(sample.with_logarithms(COSINE))[1], seed=data.seed)
    return differences_content(table, data.by_shift(), data.groups_with(COSINE), data.group_word, critical)


def differences_content(
    differences: pl.DataFrame | None, order: Sequence[str], images: int, unit: str = "image", critical: float = OF_ONE
) -> Json:
    content: Json = {"augmentations": len(order), "images": images, "unit": unit, "is_tested": differences is not None}
    if differences is None or len(order) < 2:
        return content
    by_pairs = ordered(differences, COSINE, order)
    pairs = list(itertools.combinations(by_pairs.names, 2))
    told_apart = [pair for pair in pairs if pair in by_pairs.significant and pair in by_pairs.ratios]
    open_pairs = [pair for pair in pairs if pair not in by_pairs.significant]
    # The interval of a logarithm of a ratio becomes narrower by the root of the number of images.
    needed = [
        images * times_more(critical) * (math.log(high / low) / 2 / math.log(ratio)) ** 2
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


def settings(page: PageInput) -> Section:
    info, naming = page.info, page.reader.naming
    config = naming.settings(info.config) | {"images": naming.places(info.config["images"])}
    if len(config["images"]) > LISTED_PATHS:
        config["images"] = [*config["images"][:LISTED_PATHS], f"… and {len(config['images']) - LISTED_PATHS:,} more"]
    parts = page.reader.parts
    content = {
        "headline": headline(info, page.data.images),
        "groups": info.groups,
        "study": _facts(page),
        "checksum": study_checksum(parts),
        "checksums": [(part.path.name, part.checksum[:12]) for part in parts[:LISTED_PARTS]],
        "more_checksums": max(0, len(parts) - LISTED_PARTS),
        "failures": _failures(page.records, naming),
        "unfinished": not info.complete or info.ended,
        # With all that decides the views as JSON.
        "augmentations": [
            (name, info.descriptions.get(name, ""), json.dumps(entry, ensure_ascii=False))
            for name, entry in info.identity["augmentations"].items()
        ],
        "command": shlex.join(shown_command(page.reader, page.reader.folder.resolve().name)),
        "rules": info.checked,
        "configuration": json.dumps(config, indent=2, ensure_ascii=False),
    }
    return Section("measured", "Settings and data", content)


def _facts(page: PageInput) -> Json:
    info, naming, records, copied = page.info, page.reader.naming, page.records, copies(page.reader)
    stages = dict.fromkeys(stage for record in records for stage in record.seconds)
    skipped = ", ".join(f"{number:,} {ending}" for ending, number in sorted(info.counts.skipped.items()))
    return {
        "info": info,
        "title": page.encoder,
        "name": naming.setting(info.encoder.name),
        "attention": ATTENTION.get(info.encoder.attention_kind or "", "none: this encoder provides no attention"),
        "measured": page.data.images,
        "failed": sum(len(record.failures) for record in records),
        "skipped": shorten(skipped),
        "copies": copies_line(copied) if copied else "none",
        "places": naming.places(info.config["images"]),
        "listed_paths": LISTED_PATHS,
        "variants": {name: _variants(info, name, naming) for name in info.variants},
        "sizes": sorted({record.batch_size for record in records}),
        "seconds": {stage: sum(record.seconds.get(stage, 0.0) for record in records) for stage in stages},
    }


def _variants(info: StudyInfo, name: str, naming: ImageNaming) -> Json:
    variants = dict(info.variants[name])
    places = naming.places(info.source["variants"][name]["paths"])
    first = naming.image(variants["first"]) if variants["stretched"] else ""
    return variants | {"places": places, "first": first}


def _failures(records: Sequence[ShardRecord], naming: ImageNaming) -> list[Failure]:
    failures = [failure for record in records for failure in record.failures][:LISTED_FAILURES]
    return [Failure(naming.image(f.image_id), f.stage, shorten(naming.text(f.reason, f.image_id))) for f in failures]


def headline(info: StudyInfo, measured: int) -> str:
    names, draws = len(info.augmentations), info.draws
    views = count(measured * names * draws, "augmented view")
    families = families_of(info.identity["augmentations"])
    levels = f" ({len(families)} famil{'y' if len(families) == 1 else 'ies'})" if families else ""
    return (
        f"{count(measured, 'image')}, {count(names, 'augmentation')}{levels}, {views} and {count(measured, ORIGINAL)}, "
        f"{info.encoder.precision}"
    )


def glossary(questions: Sequence[Question], orders: Container[int]) -> Section:
    terms, corrected = dict(TERMS), dict(CORRECTED)
    for question, part in parts_of_page(questions):
        if part.section is None or question.order in orders:
            terms |= part.terms
            corrected |= part.corrected
    ordered = sorted(terms.items(), key=lambda pair: pair[0].lower())
    return Section("glossary", "Glossary", {"terms": ordered, "corrected": corrected})
