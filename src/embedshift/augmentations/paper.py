"""The paper's suite: nine augmentations with the strengths of the authors' scripts."""

from typing import Any

from embedshift.augmentations import transforms
from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.changes import Graded
from embedshift.augmentations.corruptions.noise import GAUSSIAN
from embedshift.augmentations.elastic import SIGMA, Elastic, elastic
from embedshift.augmentations.ranges import Range, plain
from embedshift.augmentations.suite import SUITES, VIEWS
from embedshift.config import Json

PAPER: dict[str, tuple[str, Json]] = {
    "noise": ("GaussNoise", {"std_range": (0.44, 0.88)}),
    "blur": ("GaussianBlur", {"blur_limit": (3, 7)}),
    "color_jitter": ("ColorJitter", {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.2}),
    "shift_scale_rotate": ("ShiftScaleRotate", {"shift_limit": 0.0625, "scale_limit": 0.1, "rotate_limit": 15}),
    "horizontal_flip": ("HorizontalFlip", {}),
    "elastic": ("ElasticTransform", {"alpha": 30, "sigma": SIGMA}),
    "perspective": ("Perspective", {"scale": (0.05, 0.1)}),
    "brightness_contrast": ("RandomBrightnessContrast", {"brightness_limit": 0.2, "contrast_limit": 0.2}),
    "coarse_dropout": (
        "CoarseDropout",
        {"num_holes_range": (6, 8), "hole_height_range": (16, 16), "hole_width_range": (16, 16), "fill": "random"},
    ),
}


# What they are; a range stands for two numbers, and ± for one.
WORDS = {
    "noise": "Gaussian noise, sd {std_range} of the range; ImageNet-C's strongest is {strongest}",
    "blur": "Gaussian blur, kernel of {blur_limit} pixels",
    "color_jitter": "Brightness {brightness:%}, contrast {contrast:%}, saturation {saturation:%}, hue {hue:%} of the "
    "circle, in a drawn order",
    "shift_scale_rotate": "Shifted by {shift_limit:%} of the side, scaled by {scale_limit:%}, turned by {rotate_limit} "
    "degrees; black border",
    "horizontal_flip": "Mirrored left to right",
    "elastic": "Warped by noise of amplitude {alpha.high:g}, smoothed by a sigma of {sigma.high:g} pixels",
    "perspective": "A view from the side: corners move inwards, sd {scale} of the side; right and bottom are cut more",
    "brightness_contrast": "Brightness {brightness_limit:%} of the range, contrast {contrast_limit:%}",
    "coarse_dropout": "{num_holes_range} squares of {hole_height_range} pixels a side, of random colours",
}


def descriptions() -> dict[str, str]:
    """Returns one line on each of the nine, with the numbers of `PAPER`."""
    written: dict[str, Any] = {"strongest": plain(GAUSSIAN[-1])}
    for key, value in (entry for _, settings in PAPER.values() for entry in settings.items() if entry[0] != "fill"):
        written[key] = Range(*value) if isinstance(value, tuple) else Range(-value, value)
    return {name: words.format(**written) for name, words in WORDS.items()}


def paper(choice: Choice) -> list[Augmentation]:
    """Returns the paper's nine augmentations; each is always applied."""
    words = descriptions()
    return [_elastic(words[name]) if name == "elastic" else _augmentation(name, words[name]) for name in PAPER]


def _augmentation(name: str, words: str) -> Augmentation:
    kind, settings = PAPER[name]
    return Augmentation(name, transforms.make(kind, **settings), description=words)


def _elastic(words: str) -> Augmentation:
    """Draws what albumentations draws, in a quarter of its time; a few pixels in a million differ by one level."""
    alpha = PAPER["elastic"][1]["alpha"]
    change = Graded(Elastic(elastic), alpha)
    return Augmentation("elastic", change, version=4, extra={"alpha": alpha, "sigma": SIGMA}, description=words)


SUITES.add("paper", paper)
VIEWS["paper"] = descriptions()
