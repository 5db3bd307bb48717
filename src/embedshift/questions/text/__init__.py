"""Does the image still match its words?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Switches:
    """The question's settings for a run."""

    text: bool = setting(False, "Also against captions, and words for augmentations.")
    labels: str | tuple[str, ...] | None = setting(None, "A file of class names, one a line: zero-shot flips.")
    words: str | dict[str, str] | None = setting(None, "YAML of augmentation: phrase, for the words.")


FIGURES = {
    "text": ("12", "Does the image still match its words?"),
    "words": ("13", "Does the shift point to the word for it?"),
}
QUESTIONS.add(
    "text",
    Question(
        __name__,
        "Does the image still match its words?",
        place=80,
        switches=Switches,
        is_asked=lambda switches: switches.text or switches.labels is not None or switches.words is not None,
        figures=FIGURES,
    ),
)
