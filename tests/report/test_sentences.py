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
# What is asked of the images; what the answer and the page say, and patterns that they do not have.
CASES: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "one image with five draws": ({"limit": 1, "draws": 5}, {
        "answer": [
            "Mean cosine similarity with the original: from ",
            "There is no relative shift, because it needs at least two images.",
            "None: 1 image cannot be tested. Tests and intervals need at least 8 images.",
        ],
        "page": ["1 image is too few for intervals and significance tests: both need at least 8."],
        "not in answer": ["furthest:", "significantly"],
        "not in page": [INTERVAL],
    }),
    "two images": ({"limit": 2}, {
        "answer": ["The embedding of mean-colour moves between 0.", "None: 2 images cannot be tested."],
        "page": ["2 images are too few for intervals", "Of 31: 30 are undecided, 1 is not testable."],
        "not in page": [INTERVAL],
    }),
    "twelve images": ({"limit": 12}, {
        "answer": [" [0.", "With fewer than 20 images the intervals are approximate."],
        "page": ["With 12 images the intervals are approximate"],
    }),
    "one augmentation": ({"augmentations": {"dark": darker(0.5)}}, {
        "answer": [
            "dark, the only augmentation, moves the embedding of mean-colour: ", "Furthest under dark: ",
        ],
        "page": ["No claim can be tested here: "],
        "not in answer": ["Which differences are statistically"],
        "not in page": ["The tree joins augmentations whose views"],
    }),
    "more augmentations than are compared": ({"augmentations": DARK, "limit": 10}, {
        "answer": ["21 augmentations are too many to compare all pairs."],
        "not in page": ["The tree joins"],
    }),
    "an encoder without attention": ({"model": Blind()}, {
        "page": [
            "Excluded here, since not every augmentation has a value: attention similarity.", "are not testable",
        ],
        "not in answer": ["attention"],
        "not in page": ["Attention similarity compares where"],
    }),
    "equal embeddings": ({"model": Equal()}, {
        "answer": [
            "No augmentation moves the embedding of mean-colour: every mean cosine similarity is 1.",
            "None: no augmentation moves the embedding more than another.",
        ],
        "page": ["Of 31: 1 does not hold, 30 are not testable."],  # the rank of the flip turns on pixels too
        "not in page": [r"\bnan\b"],
    }),
    "an identity beside a change": ({"augmentations": {"same": lambda image, rng: image, "dark": darker(0.5)}}, {
        "answer": [
            "dark moves the embedding of mean-colour furthest: ", "same moves it least: 0.0",
            "All: with 24 images, every pair of augmentations differs significantly in how far it moves the embedding.",
        ],
        "not in answer": [r"same moves it least: 0\.0*[1-9]"],
    }),
    "constant images": ({"images": "grey"}, {
        "answer": ["There is no relative shift: the mean cosine similarity of different images, 1.000, is no diff"],
        "page": ["This study has no relative shift", "9 images repeat the pixels of another"],
        "not in answer": ["Which images have the largest shift"],
    }),
}  # fmt: skip


@pytest.mark.parametrize("case", first_only(CASES))
def test_the_page_says(case, request, tmp_path):
    settings, said = CASES[case]
    asked = {"model": MeanColour(), "workers": 0} | settings
    images = request.getfixturevalue(asked.pop("images", "images"))
    study = embedshift.run(images, out=tmp_path / "study", **asked)
    text = study.report(figures=["ruler"], formats=["svg"]).read_text()
    main = text[text.index("<main>") : text.index("</main>")]
    plain = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main)))
    plain = re.sub(r" ([,.;:)])", r"\1", plain)
    answer = plain[: plain.index(" Summary ")]
    for place, text in (("answer", answer), ("page", plain)):
        assert [words for words in said.get(place, ()) if words not in text] == []
        assert [pattern for pattern in said.get(f"not in {place}", ()) if re.search(pattern, text)] == []
