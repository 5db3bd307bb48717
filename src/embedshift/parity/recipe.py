"""The steps from a file to a vector as a recipe: its axes, the values that stacks have, and their words."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedshift.encoders.base import Preprocess
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD, HALF
from embedshift.encoders.family import IMAGENET_MEAN, IMAGENET_STD, Triple

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
PILLOW = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
OPENCV = ("nearest", "linear", "cubic", "lanczos", "area")
# torch interpolates 8-bit pixels and rounds, or floats; in both with or without antialiasing.
TORCH = {
    "torch": "torch, 8 bits, with antialiasing",
    "torch aliased": "torch, 8 bits, without antialiasing",
    "torch floats": "torch, floats, with antialiasing",
    "torch floats aliased": "torch, floats, without antialiasing",
}
SIZES = (192, 196, 240, 256, 288, 336, 384)
RATIOS = (1.0, 0.875, 0.9, 0.95)
# How an image becomes square → words; the number is the part of the scaled image that the crop keeps.
FITS = {
    "crop": "cropped after resizing",
    "squash": "squashed",
    "crop first": "cropped before resizing",
    "black": "padded with black",
    "grey": "padded with grey",
    "white": "padded with white",
}
WORDS: Mapping[str, Mapping[Any, str]] = {
    "decoder": {
        "full": "decoded in full",
        "half": "with JPEGs decoded at half size (reduced DCT)",
        "draft": "with JPEGs decoded by Pillow's draft mode",
        "chroma": "with the chroma of JPEGs repeated, not interpolated",
    },
    "orientation": {True: "turned by EXIF", False: "with the EXIF orientation ignored"},
    "alpha": {"white": "with alpha on white", "black": "with alpha on black", "dropped": "with alpha dropped"},
    "inks": {"pillow": "with CMYK converted by Pillow", "opencv": "with CMYK converted by OpenCV"},
    "depth": {"high": "with the high byte of 16 bits", "clipped": "with 16 bits clipped to 255"},
    "jpeg": {None: "not recompressed"} | {q: f"recompressed as JPEG {q}" for q in (95, 90, 85, 75)},
    "rounding": {
        "floor": "with sizes and crop rounded down, as in transformers",
        "torchvision": "with sizes rounded down and the crop's corner rounded, as in torchvision",
        "nearest": "with sizes and crop rounded to the nearest pixel",
    },
    "channels": {
        "rgb": "with channels in order RGB",
        "bgr": "with channels in order BGR",
        "late": "with channels in order BGR after normalisation",
    },
    "values": {1: "with values in 0 to 1", 255: "with values in 0 to 255", 1 / 255: "with values divided by 255 twice"},
    "statistics": {
        (IMAGENET_MEAN, IMAGENET_STD): "with ImageNet's mean and std",
        (CLIP_MEAN, CLIP_STD): "with CLIP's mean and std",
        (HALF, HALF): "with mean and std .5",
        (ZERO, ONE): "without mean and std",
    },
    "precision": {
        "float32": "in float32",
        "bfloat16": "in bfloat16",
        "float16": "in float16",
        "int8": "with weights in int8 (dynamic)",
    },
    "gelu": {"exact": "with the exact GELU", "quick": "with quick GELU", "tanh": "with the tanh form of GELU"},
    "positions": {
        "own": "with its positions",
        "bilinear": "with positions interpolated bilinearly",
        "antialias": "with positions interpolated with antialiasing",
        "offset": "with positions interpolated with an offset of 0.1, as in DINOv2's repository",
    },
    "pooling": {
        "own": "with its own pooling",
        "class": "with the class token after the norm, not projected",
        "mean": "with the mean of the patch tokens",
        "both": "with class token and mean of the patch tokens, joined",
        "class before norm": "with the class token before the norm",
        "mean before norm": "with the mean of the patch tokens before the norm",
        "all": "with the mean of all tokens",
    },
}


@dataclass(frozen=True)
class Recipe:
    """The steps of a stack; the fields are the axes."""

    size: int
    statistics: tuple[Triple, Triple]
    resize: tuple[str, str]
    fit: tuple[str, float]
    rounding: str
    gelu: str
    decoder: str = "full"
    orientation: bool = True
    alpha: str = "white"
    inks: str = "pillow"
    depth: str = "high"
    jpeg: int | None = None
    channels: str = "rgb"
    values: float = 1
    precision: str = "float32"
    positions: str = "own"
    pooling: str = "own"

    def having(self, axis: str, value: Any) -> "Recipe":
        return dataclasses.replace(self, **{axis: value})

    def differences(self, other: "Recipe") -> list[str]:
        """The axes on which two recipes differ."""
        return [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != getattr(other, f.name)]


# The steps that touch only some files.
OF_SOME_FILES = ("orientation", "alpha", "inks", "depth")
OF_ALL_FILES = ("decoder", "rounding", "fit", "channels")
OF_NETWORK = ("precision", "gelu", "positions")


def recipe_of(preprocess: Preprocess, library: str, gelu: str) -> Recipe:
    """Makes the recipe of a reference from its preprocessing and the library that it comes from."""
    ratio = preprocess.size / max(preprocess.shortest or preprocess.size, preprocess.size)
    return Recipe(
        preprocess.size,
        (preprocess.mean, preprocess.std),
        ("Pillow", PILLOW[preprocess.resample]),
        ("squash" if preprocess.squash else "crop", ratio),
        "floor" if library == "transformers" else "torchvision",
        gelu,
    )


def axes_of(reference: Recipe, network: Mapping[str, Iterable[Any]]) -> dict[str, tuple[Any, ...]]:
    """Axis → all its values; `network` has those of the axes that depend on the encoder."""
    filters = [("Pillow", name) for name in PILLOW.values()] + [("OpenCV", name) for name in OPENCV]
    filters += [(library, name) for library in TORCH for name in ("bilinear", "bicubic")]
    ratios = dict.fromkeys((*RATIOS, reference.fit[1]))
    fits = [(kind, ratio) for kind in ("crop", "squash", "crop first") for ratio in ratios]
    values: dict[str, Iterable[Any]] = {axis: [*words] for axis, words in WORDS.items()}
    values |= {"resize": filters, "fit": [*fits, *((kind, 1.0) for kind in ("black", "grey", "white"))], "size": SIZES}
    values |= network
    return {axis: tuple(dict.fromkeys([getattr(reference, axis), *options])) for axis, options in values.items()}


def words(recipe: Recipe, axis: str) -> str:
    """Says a step in words that follow "SERVED is REFERENCE"."""
    value: Any = getattr(recipe, axis)
    if axis == "size":
        return f"with an input of {value} pixels"
    if axis == "fit":
        kind, ratio = value
        return FITS[kind] if ratio == 1 else f"{FITS[kind]}, with {ratio:.4g} of the shorter side kept"
    if axis == "resize":
        library, name = value
        return f"resized by {TORCH[library]}, {name}" if library in TORCH else f"resized by {library}'s {name} filter"
    return WORDS[axis].get(value, f"with {axis} {value}")
