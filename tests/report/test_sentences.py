"""What the report says of studies at the edges, word for word: few images, ties, nothing that moves."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.arrays import Pixels
from embedshift.encoders.base import EncoderOutput
from support.matrix import first_only
from support.mean_colour import MeanColour

pytestmark = pytest.mark.slow

ALL_DIFFER = "All: with 24 images, every pair of augmentations differs significantly in how far it moves the embedding."
INTERVAL = r"\d \[−?\d"  # behind a number


class Blind(MeanColour):
    """The same without attention."""

    grid = None

    def __call__(self, views: Pixels) -> EncoderOutput:
        return EncoderOutput(super().__call__(views).embedding, None, None)


class Equal(Blind):
    """One embedding for every image."""

    def __call__(self, views: Pixels) -> EncoderOutput:
        return EncoderOutput(np.ones((len(views), self.dim), np.float32), None, None)


def darker(fraction: float) -> Callable[[Pixels, Any], Pixels]:
    """An augmentation that fades the upper half: it turns the embedding a little."""

    def fade(image: Pixels, rng: Any) -> Pixels:
        view = image.copy()
        view[:16] = (view[:16] * (1 - fraction)).astype(np.uint8)
        return view

    return fade


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(24):
        coarse = rng.integers(0, 256, (4, 4, 3)).repeat(8, axis=0).repeat(8, axis=1)
        fine = np.clip(coarse + rng.integers(-20, 21, (32, 32, 3)), 0, 255)
        Image.fromarray(fine.astype(np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grey")
    for number in range(10):
        Image.new("RGB", (32, 32), (90, 90, 90)).save(folder / f"{number}.png")
    return folder


DARK = {f"dark{number}": darker(0.03 * (number + 1)) for number in range(21)}
# What is asked of how many images; what answer and page say, and patterns that answer and page do not have.
CASES: dict[str, tuple[dict[str, Any], list[str], list[str], list[str], list[str]]] = {
    "one image with five draws": (
        {"limit": 1, "draws": 5},
        ["Mean cosine similarity with the original: from ",
         "There is no relative shift, because it needs at least two images.",
         "None: 1 image cannot be tested. Tests and intervals need at least 8 images."],
        ["1 image is too few for intervals and significance tests: both need at least 8."],
        ["furthest:", "significantly"],
        [INTERVAL],
    ),
    "two images": (
        {"limit": 2},
        ["The embedding of mean-colour moves between 0.", "None: 2 images cannot be tested."],
        ["2 images are too few for intervals", "Of 31: 30 are undecided, 1 is not testable."],
        [],
        [INTERVAL],
    ),
    "twelve images": (
        {"limit": 12},
        [" [0.", "With fewer than 20 images the intervals are approximate."],
        ["With 12 images the intervals are approximate"],
        [],
        [],
    ),
    "one augmentation": (
        {"augmentations": {"dark": darker(0.5)}},
        ["dark, the only augmentation, moves the embedding of mean-colour: ", "Furthest under dark: "],
        ["No claim can be tested here: "],
        ["Which differences are statistically"],
        ["The tree joins augmentations whose views"],
    ),
    "twenty augmentations": (
        {"augmentations": dict(list(DARK.items())[:20])},
        ["dark19 moves the embedding of mean-colour furthest: ", "dark0 moves it least: ", ALL_DIFFER],
        [],
        [],
        [],
    ),
    "one more": (
        {"augmentations": DARK, "limit": 10},
        ["21 augmentations are too many to compare all pairs."],
        [],
        [],
        ["The tree joins"],
    ),
    "an encoder without attention": (
        {"model": Blind()},
        [],
        ["Excluded here, since not every augmentation has a value: attention similarity.", "are not testable"],
        ["attention"],
        ["Attention similarity compares where"],
    ),
    "equal embeddings": (
        {"model": Equal()},
        ["No augmentation moves the embedding of mean-colour: every mean cosine similarity is 1.",
         "None: no augmentation moves the embedding more than another."],
        ["Of 31: 1 does not hold, 30 are not testable."],  # the rank of the flip turns on pixels too
        [],
        [r"\bnan\b"],
    ),
    "an identity beside a change": (
        {"augmentations": {"same": lambda image, rng: image, "dark": darker(0.5)}},
        ["dark moves the embedding of mean-colour furthest: ", "same moves it least: 0.0", ALL_DIFFER],
        [],
        [r"same moves it least: 0\.0*[1-9]"],
        [],
    ),
    "constant images": (
        {"images": "grey"},
        ["There is no relative shift: the mean cosine similarity of different images, 1.000, is no different"],
        ["This study has no relative shift", "9 images repeat the pixels of another"],
        ["Which images have the largest shift"],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", first_only(CASES))
def test_the_page_says(case, request, tmp_path):
    settings, in_answer, in_page, not_in_answer, not_in_page = CASES[case]
    asked = {"model": MeanColour(), "workers": 0} | settings
    images = request.getfixturevalue(asked.pop("images", "images"))
    study = embedshift.run(images, out=tmp_path / "study", **asked)
    text = study.report(figures=["ruler"], formats=["svg"]).read_text()
    main = text[text.index("<main>") : text.index("</main>")]
    plain = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main)))
    plain = re.sub(r" ([,.;:)])", r"\1", plain)
    answer = plain[: plain.index(" Summary ")]
    assert [words for words in in_answer if words not in answer] == []
    assert [words for words in in_page if words not in plain] == []
    assert [pattern for pattern in not_in_answer if re.search(pattern, answer)] == []
    assert [pattern for pattern in not_in_page if re.search(pattern, plain)] == []
