"""Does the image still match its text?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Switches:
    """The question's settings for a run."""

    text: bool = setting(False, "Compare images with captions, and shifts with phrases for the augmentations.")
    labels: str | tuple[str, ...] | None = setting(
        None, "File of class names, one per line, for zero-shot classification."
    )
    words: str | dict[str, str] | None = setting(None, "YAML file with a phrase per augmentation.")


FIGURES = {
    "text": ("12", "How well images still match their text"),
    "words": ("13", "Cosine between shifts and the phrases for them"),
}
QUESTIONS.add(
    "text",
    Question(
        __name__,
        "Does the image still match its text?",
        order=80,
        switches=Switches,
        is_asked=lambda switches: switches.text or switches.labels is not None or switches.words is not None,
        figures=FIGURES,
    ),
)
