"""Which patches determine the embedding, and do they change?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Switches:
    """The question's settings for a run."""

    maps: tuple[str, ...] = setting((), "Maps of the patches that determine the embedding: relevance,tokens.")
    maps_images: int = setting(50, "Number of images with maps, drawn by the seed.", rare=True)
    maps_target: str = setting("image", "Target of the maps: image, caption, or your own text.", rare=True)


FIGURES = {
    "maps": ("25", "Which patches determine the embedding"),
    "maps_moved": ("26", "How much the relevant patches change"),
}
QUESTIONS.add(
    "maps",
    Question(
        __name__,
        "Which patches determine the embedding, and do they change?",
        order=76,
        switches=Switches,
        is_asked=lambda switches: switches != Switches(),
        figures=FIGURES,
    ),
)
