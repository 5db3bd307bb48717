"""The suite `corruptions`: ImageNet-C's corruptions at five severities, written from the published parameters.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
arXiv 1903.12261; parameters of `make_imagenet_c.py` in their repository `hendrycks/robustness`.
"""

import logging

from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.corruptions import blur, digital, weather
from embedshift.augmentations.corruptions import blur as glass
from embedshift.augmentations.corruptions import digital as elastic
from embedshift.augmentations.corruptions import digital as noise
from embedshift.augmentations.corruptions import weather as frost
from embedshift.augmentations.family import family_augmentations
from embedshift.augmentations.suite import SUITES
from embedshift.errors import UsageError

__all__ = ["STANDARD", "blur", "corruptions", "digital", "elastic", "frost", "glass", "noise", "weather"]

log = logging.getLogger(__name__)

# The fifteen corruptions of the standard's mean, in its order.
STANDARD = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip


def corruptions(choice: Choice) -> list[Augmentation]:
    textures = choice.frost_textures
    names = choice.families or tuple(name for name in STANDARD if name != frost.NAME or textures is not None)
    if not choice.families and textures is None:
        log.info("skipping frost: it needs `frost_textures`, a folder of frost images")
    if frost.NAME in names and textures is None:
        raise UsageError("families: frost needs a folder of frost images; give it as `frost_textures`")
    others = [] if textures is None or frost.NAME not in names else [frost.frost_family(textures)]
    return family_augmentations("corruptions", choice, names, others)


SUITES.add("corruptions", corruptions)
