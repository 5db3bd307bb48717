"""Which vectors are stored of an image?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting, switched


@dataclass(frozen=True)
class Switches:
    """Which vectors are stored beside those of original and views."""

    tiles: int | None = setting(
        None, "Also encode overlapping tiles of every original: 4 (60 % of a side) or 9 (45 %)."
    )
    mirrored: bool = setting(False, "Also encode the mirror image of every original and view.")


SENTENCE = "Which vectors are stored of an image, beside that of the whole?"
QUESTIONS.add(
    "layouts", Question(__name__, SENTENCE, order=17, switches=Switches, is_asked=switched, for_originals=True)
)
