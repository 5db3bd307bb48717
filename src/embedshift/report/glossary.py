"""The end of the report: corrections for multiplicity, and a glossary."""

from collections.abc import Container, Sequence

from embedshift.registry import Question
from embedshift.report.section import Section, parts_of_page

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
    "What rules of embedshift check decide": "Not corrected for the number of rules.",
}


def glossary(questions: Sequence[Question], orders: Container[int]) -> Section:
    terms, corrected = dict(TERMS), dict(CORRECTED)
    for question, part in parts_of_page(questions):
        if part.section is None or question.order in orders:
            terms |= part.terms
            corrected |= part.corrected
    ordered = sorted(terms.items(), key=lambda pair: pair[0].lower())
    return Section("glossary", "Glossary", {"terms": ordered, "corrected": corrected})
