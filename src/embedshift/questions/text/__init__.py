"""Does the image still match its text?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting, switched


@dataclass(frozen=True)
class Switches:
    text: bool = setting(False, "Compare images with captions, and shifts with phrases for the augmentations.")
    labels: str | tuple[str, ...] | None = setting(
        None, "File of class names, one per line, for zero-shot classification."
    )
    words: str | dict[str, str] | None = setting(None, "YAML file with a phrase per augmentation.")


FIGURES = {
    "text": ("12", "How well images still match their text"),
    "words": ("13", "Cosine between shifts and the phrases for them"),
}
SENTENCE = "Does the image still match its text?"
QUESTION = Question(__name__, SENTENCE, order=70, switches=Switches, is_asked=switched, figures=FIGURES)
QUESTIONS.add("text", QUESTION)
