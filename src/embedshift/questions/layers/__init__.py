from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting, switched

TOKENS = ("cls", "patches")
COMPARED = ("cosine_similarity", "l2_distance")
# 1 - cosine at or below it is rounding of float32, and no change.
UNMOVED = 1e-6


def column(metric: str, token: str) -> str:
    return f"layer_{metric.split('_')[0]}_{token}"


@dataclass(frozen=True)
class Switches:
    layers: bool = setting(False, "Measure the shift after every block of the encoder.")


FIGURES = {"depth": ("10", "Shift after every block of the encoder")}
SENTENCE = "After which block of the encoder does the shift appear?"
QUESTION = Question(__name__, SENTENCE, order=60, switches=Switches, is_asked=switched, figures=FIGURES)
QUESTIONS.add("layers", QUESTION)
