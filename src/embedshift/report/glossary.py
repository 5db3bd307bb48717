"""The end of the report: corrections for multiplicity, and a glossary."""

from collections.abc import Sequence

from embedshift.registry import Question
from embedshift.report.section import Part, Section

# What every page has; questions add their own.
TERMS = {
    "augmentation": "A change of an image, for example a blur; what is random in it is drawn for each view.",
    "encoder": "The network that turns an image into an embedding.",
    "embedding": "The vector that an encoder gives for an image. Images that it takes for alike have a small angle.",
    "view": "What an augmentation makes of an image, at the size that the encoder reads.",
    "draw": "One view of an image under an augmentation; a study may have several.",
    "unrelated images": "Two different images of the set, chosen at random.",
    "floor": "The mean of a metric over pairs of unrelated images: the value that a view must stay away from.",
    "share of the way": "How far a metric moves, from its value for no change (0) to its floor (1).",
    "interval": "A 95 % interval: in 95 % of studies of images like these it holds the true number.",
    "settled": "The simultaneous interval of a difference does not hold 0: these images decide which is larger.",
    "paired": "Compared image by image: an image that is hard under both augmentations does not widen the interval.",
    "simultaneous": "Of several intervals: with 95 % all of them hold at once.",
}
CORRECTED = {
    "Which of two augmentations changes a metric more (“settled”)": "All pairs of augmentations of one metric. "
    "Metrics are not corrected for each other.",
    "Intervals of single means and shares": "Nothing: each holds for itself in 95 % of studies.",
}


def glossary(asked: Sequence[Question]) -> Section:
    """Returns the section, with the terms of the questions that the study asked.

    Args:
        asked: The study's questions.
    """
    terms, corrected = dict(TERMS), dict(CORRECTED)
    for question in asked:
        part: Part | None = getattr(question.part("section"), "PART", None)
        if part is not None:
            terms |= part.terms
            corrected |= part.corrected
    ordered = sorted(terms.items(), key=lambda pair: pair[0].lower())
    return Section("glossary", "Glossary", 110, {"terms": ordered, "corrected": corrected})
