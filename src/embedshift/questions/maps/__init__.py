from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting, switched

# The columns of a study with maps, and the names of maps and comparisons.
RELEVANCE, TOKENS = "relevance", "tokens"
# The last layer's attention, from every encoder that has it; and patches in random order.
ATTENTION, RANDOM = "attention", "random"
CHOICES = (RELEVANCE, TOKENS)
SCORES = ("deletion", "insertion")

SIMILARITY, ALIGNED, DIVERGENCE = "similarity", "aligned_similarity", "divergence"
CORRELATION, ALIGNED_CORRELATION = "correlation", "aligned_correlation"
BOUNDS = {
    **dict.fromkeys((SIMILARITY, ALIGNED), (0.5, 1.0)), DIVERGENCE: (0.0, 1.0),
    **dict.fromkeys((CORRELATION, ALIGNED_CORRELATION), (-1.0, 1.0)),
}  # fmt: skip
# By map: a map with signs is no distribution, and has no zero to scale to.
COMPARISONS = {ATTENTION: (*BOUNDS,), RELEVANCE: (*BOUNDS,), TOKENS: (CORRELATION, ALIGNED_CORRELATION)}


@dataclass(frozen=True)
class Switches:
    maps: tuple[str, ...] = setting((), "Maps of the patches that determine the embedding: relevance,tokens.")
    maps_images: int = setting(50, "Number of images with maps, drawn by the seed.", rare=True)
    maps_target: str = setting("image", "Target of the maps: image, caption, or your own text.", rare=True)


FIGURES = {
    "maps": ("25", "Which patches determine the embedding"),
    "maps_moved": ("26", "How much the relevant patches change"),
}
SENTENCE = "Which patches determine the embedding, and do they change?"
QUESTION = Question(__name__, SENTENCE, order=64, switches=Switches, is_asked=switched, figures=FIGURES)
QUESTIONS.add("maps", QUESTION)


def map_columns(name: str) -> tuple[str, str]:
    return f"map_{name}", f"map_{name}_original"


def column_of(name: str, number: str) -> str:
    return f"map_{name}_{number}"
