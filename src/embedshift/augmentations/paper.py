"""The paper's suite: nine augmentations with the strengths of the authors' scripts."""

from embedshift.augmentations import transforms
from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.changes import Graded
from embedshift.augmentations.elastic import SIGMA, Elastic, elastic
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


def paper(choice: Choice) -> list[Augmentation]:
    """Returns the paper's nine augmentations; each is always applied."""
    return [_elastic() if name == "elastic" else _made(name) for name in PAPER]


def _made(name: str) -> Augmentation:
    kind, settings = PAPER[name]
    return Augmentation(name, transforms.make(kind, **settings))


def _elastic() -> Augmentation:
    """Draws what albumentations draws, in a quarter of its time; a few pixels in a million differ by one level."""
    alpha = PAPER["elastic"][1]["alpha"]
    change = Graded(Elastic(elastic), alpha)
    return Augmentation("elastic", change, version=4, more={"alpha": alpha, "sigma": SIGMA})


SUITES.add("paper", paper)
VIEWS["paper"] = tuple(PAPER)
