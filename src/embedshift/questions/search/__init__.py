"""Does a search still find the image?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Choices:
    """What can be chosen of the search when tables are made; what is None stays as it was, or is the default."""

    queries: str | None = setting(
        None, "Images whose views are searched for: a number, or all. Default: 2000.", rare=True
    )
    fmr: tuple[float | str, ...] | None = setting(
        None, "False-match rates of the thresholds for duplicates. Default: 0.01,0.001.", rare=True
    )
    gallery: str | None = setting(
        None, "More images to find among: another study, or a Parquet or npy file of vectors. Default: none.", rare=True
    )


QUESTIONS.add(
    "search",
    Question(__name__, "Does a search still find the image, and which are duplicates?", place=12, choices=Choices),
)
