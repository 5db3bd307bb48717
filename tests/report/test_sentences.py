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
from support.mean_colour import MeanColour

pytestmark = pytest.mark.slow

ALL_DIFFER = "All: with 24 images, every pair of augmentations differs significantly in how far it moves the embedding."
NO_INTERVAL = re.compile(r"\d \[−?\d")


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


def page(images: Path, out: Path, **settings: Any) -> tuple[str, str]:
    """The page as text, and the section with the answer."""
    given = {"model": MeanColour(), "workers": 0} | settings
    study = embedshift.run(images, out=out, **given)
    text = study.report(figures=["ruler"], formats=["svg"]).read_text()
    main = text[text.index("<main>") : text.index("</main>")]
    plain = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main)))
    plain = re.sub(r" ([,.;:)])", r"\1", plain)
    return plain, plain[: plain.index(" Summary ")]


def test_one_image_with_five_draws(images, tmp_path):
    text, answer = page(images, tmp_path / "study", limit=1, draws=5)
    assert "Mean cosine similarity with the original: from " in answer
    assert "There is no relative shift, because it needs at least two images." in answer
    assert "None: 1 image cannot be tested. Tests and intervals need at least 8 images." in answer
    assert "1 image is too few for intervals and significance tests: both need at least 8." in text
    assert not NO_INTERVAL.search(text), "five draws of one image are no five images"
    assert "furthest:" not in answer
    assert "significantly" not in answer


@pytest.mark.matrix
def test_two_images(images, tmp_path):
    text, answer = page(images, tmp_path / "study", limit=2)
    assert re.search(
        r"The embedding of mean-colour moves between 0\.\d+ under \w+ and .* of the distance to another image",
        answer,
    )
    assert "None: 2 images cannot be tested." in answer
    assert not NO_INTERVAL.search(text)
    assert "2 images are too few for intervals" in text
    assert "Of 31: 30 are undecided, 1 is not testable." in text


@pytest.mark.matrix
def test_twelve_images_are_approximate(images, tmp_path):
    text, answer = page(images, tmp_path / "study", limit=12)
    assert NO_INTERVAL.search(answer)
    assert "With fewer than 20 images the intervals are approximate." in answer
    assert "With 12 images the intervals are approximate" in text


@pytest.mark.matrix
def test_one_augmentation(images, tmp_path):
    text, answer = page(images, tmp_path / "study", augmentations={"dark": darker(0.5)})
    assert "dark, the only augmentation, moves the embedding of mean-colour: " in answer
    assert "Which differences are statistically significant?" not in answer
    assert "Furthest under dark: " in answer
    assert "The tree joins augmentations whose views" not in text
    assert "No claim can be tested here: " in text


@pytest.mark.matrix
def test_twenty_augmentations_and_one_more(images, tmp_path):
    suite = {f"dark{number}": darker(0.03 * (number + 1)) for number in range(21)}
    first = dict(list(suite.items())[:20])
    _, answer = page(images, tmp_path / "twenty", augmentations=first)
    assert "dark19 moves the embedding of mean-colour furthest: " in answer
    assert "dark0 moves it least: " in answer
    assert (
        "All: with 24 images, every pair of augmentations differs significantly in how far it moves the embedding."
        in answer
    )
    text, answer = page(images, tmp_path / "more", augmentations=suite, limit=10)
    assert "21 augmentations are too many to compare all pairs." in answer
    assert "The tree joins" not in text


@pytest.mark.matrix
def test_an_encoder_without_attention(images, tmp_path):
    text, answer = page(images, tmp_path / "study", model=Blind())
    assert "Excluded here, since not every augmentation has a value: attention similarity." in text
    assert "Attention similarity compares where" not in text
    assert "are not testable" in text
    assert "attention" not in answer


@pytest.mark.matrix
def test_constant_images(grey, tmp_path):
    text, answer = page(grey, tmp_path / "study")
    assert (
        "There is no relative shift: the mean cosine similarity of different images, 1.000, is no different" in answer
    )
    assert "Which images have the largest shift?" not in answer
    assert "This study has no relative shift" in text
    assert "9 images repeat the pixels of another" in text


@pytest.mark.matrix
def test_equal_embeddings(images, tmp_path):
    text, answer = page(images, tmp_path / "study", model=Equal())
    assert "No augmentation moves the embedding of mean-colour: every mean cosine similarity is 1." in answer
    assert "None: no augmentation moves the embedding more than another." in answer
    # The rank of the flip turns on pixels too.
    assert "Of 31: 1 does not hold, 30 are not testable." in text
    assert not re.search(r"\bnan\b", text)


@pytest.mark.matrix
def test_an_identity_beside_a_change_stays_at_zero(images, tmp_path):
    _, answer = page(images, tmp_path / "study", augmentations={"same": lambda image, rng: image, "dark": darker(0.5)})
    assert "dark moves the embedding of mean-colour furthest: " in answer
    assert re.search(r"same moves it least: 0\.00+ \[0\.00+ to 0\.00+\]\.", answer)
    assert (
        "All: with 24 images, every pair of augmentations differs significantly in how far it moves the embedding."
        in answer
    )
