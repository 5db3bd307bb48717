"""Which patches does the embedding come from, and are they still the same?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting


@dataclass(frozen=True)
class Switches:
    """The question's settings for a run."""

    maps: tuple[str, ...] = setting((), "Maps by gradients: relevance,tokens; what the embedding comes from.")
    maps_images: int = setting(50, "Images, drawn by the seed, that get maps.", rare=True)
    maps_target: str = setting("image", "What is explained: image, caption, or words of your own.", rare=True)


FIGURES = {
    "maps": ("25", "What the embedding comes from"),
    "maps_moved": ("26", "Does the embedding still come from the same places?"),
}
QUESTIONS.add(
    "maps",
    Question(
        __name__,
        "Which patches does the embedding come from, and are they still the same?",
        place=76,
        switches=Switches,
        is_asked=lambda switches: switches != Switches(),
        figures=FIGURES,
    ),
)
