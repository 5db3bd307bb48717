"""The steps from a file to a vector as a recipe: its axes, the values that stacks have, and their words."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedshift.encoders.families import CLIP_MEAN, CLIP_STD, HALF, IMAGENET_MEAN, IMAGENET_STD
from embedshift.encoders.family import Triple

PILLOW = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
OPENCV = ("nearest", "linear", "cubic", "lanczos", "area")
KINDS, ALIASING = ("", " on floats", " on clamped floats", " on 8 bits"), ("", " without antialiasing")
TORCH = tuple(f"torch{kind}{aliasing}" for kind in KINDS for aliasing in ALIASING)
FITS = {
    "crop": "cropped after resizing", "squash": "squashed", "crop first": "cropped before resizing",
    "black": "padded with black", "grey": "padded with grey", "white": "padded with white",
}  # fmt: skip
RATIOS = (1.0, 0.875, 0.9, 0.95)
# Axis → value → the words that follow "SERVED is REFERENCE"; of the axes that are in no other table.
WORDS: Mapping[str, Mapping[Any, str]] = {
    "size": {size: f"with an input of {size} pixels" for size in (192, 196, 224, 240, 256, 288, 336, 384)},
    "statistics": {
        (IMAGENET_MEAN, IMAGENET_STD): "with ImageNet's mean and std",
        (CLIP_MEAN, CLIP_STD): "with CLIP's mean and std", (HALF, HALF): "with mean and std .5",
        ((0.0,) * 3, (1.0,) * 3): "without mean and std",
    },
    "rounding": {
        "floor": "with sizes and crop rounded down, as in transformers",
        "torchvision": "with the crop's corner rounded, as in torchvision",
        "nearest": "with sizes and crop rounded to the nearest pixel",
        "sizes": "with sizes rounded to the nearest pixel",
    },
    "gelu": {"exact": "with the exact GELU", "quick": "with quick GELU", "tanh": "with the tanh form of GELU"},
    "decoder": {
        "half": "with JPEGs decoded at half size (reduced DCT)", "draft": "with JPEGs decoded in Pillow's draft mode",
        "chroma": "with the chroma of JPEGs repeated, not interpolated",
    },
    "orientation": {False: "with the EXIF orientation ignored"},
    "alpha": {"black": "with alpha on black", "dropped": "with alpha dropped"},
    "inks": {"opencv": "with CMYK converted by OpenCV"},
    "depth": {"clipped": "with 16 bits clipped to 255"},
    "jpeg": {quality: f"recompressed as JPEG {quality}" for quality in (95, 90, 85, 75)},
    "channels": {"bgr": "with channels in order BGR", "late": "with BGR after mean and std"},
    "values": {255: "with values in 0 to 255", 1 / 255: "with values divided by 255 twice"},
    "precision": {"bfloat16": "in bfloat16", "float16": "in float16", "int8": "in int8 (dynamic)"},
    "positions": {
        "bilinear": "with positions interpolated bilinearly", "antialias": "with antialiased positions",
        "offset": "with positions interpolated with an offset, as in DINOv2's repository",
    },
    "pooling": {
        "class": "with the class token, not projected", "class before norm": "with the class token before the norm",
        "mean": "with the mean of the patch tokens", "both": "with class token and mean of the patch tokens",
        "mean before norm": "with the mean of the patch tokens before the norm", "all": "with the mean of all tokens",
    },
}  # fmt: skip
# The axes that touch only some files, those that show which file tells most, and those of the network.
OF_SOME_FILES, OF_ALL_FILES = ("orientation", "alpha", "inks", "depth"), ("decoder", "rounding", "fit", "channels")
OF_NETWORK = ("precision", "gelu", "positions")


@dataclass(frozen=True)
class Recipe:
    """The steps of a stack; its fields are the axes."""

    size: int
    statistics: tuple[Triple, Triple]
    resize: tuple[str, str]
    fit: tuple[str, float]
    rounding: str
    gelu: str | None
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
        return [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != getattr(other, f.name)]


def recipe_of(encoder: Any, gelu: str | None) -> Recipe:
    """The recipe of a reference, by its preprocessing and the library that its module comes from."""
    preprocess, library = encoder.preprocess, type(encoder.module).__module__.partition(".")[0]
    fit = "squash" if preprocess.squash else "crop"
    ratio = preprocess.size / max(preprocess.shortest or 0, preprocess.size)
    rounding = "floor" if library == "transformers" else "torchvision"
    statistics, resize = (preprocess.mean, preprocess.std), ("Pillow", PILLOW[preprocess.resample])
    return Recipe(preprocess.size, statistics, resize, (fit, ratio), rounding, gelu)


def described(recipe: Recipe) -> str:
    """Says the steps from pixels to the network's input."""
    (kind, ratio), (mean, std) = recipe.fit, ([f"{value:.3g}" for value in values] for values in recipe.statistics)
    side = f"a shorter side of {recipe.size / ratio:.0f}" if kind == "crop" else f"{recipe.size} x {recipe.size}"
    steps = f"RGB, resized to {side} pixels by {recipe.resize[0]} ({recipe.resize[1]}), {FITS[kind]}"
    return f"{steps}, input of {recipe.size}, mean {' '.join(mean)}, std {' '.join(std)}"


def axes_of(reference: Recipe, network: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    """Axis → all its values, the reference's first; `network` has those of the axes that depend on the encoder."""
    libraries = {"Pillow": PILLOW.values(), "OpenCV": OPENCV, **dict.fromkeys(TORCH, ("bilinear", "bicubic"))}
    libraries |= {library: ("bicubic",) for library in TORCH if "clamped" in library}  # the others stay in the range
    ratios = {
        kind: (*RATIOS, reference.fit[1]) if kind in ("crop", "squash", "crop first") else (1.0,) for kind in FITS
    }
    values: dict[str, Iterable[Any]] = {
        "resize": [(library, name) for library, names in libraries.items() for name in names],
        "fit": [(kind, ratio) for kind, kept in ratios.items() for ratio in kept],
        **WORDS,
        **network,
    }
    return {axis: [*dict.fromkeys([getattr(reference, axis), *options])] for axis, options in values.items()}


def words(axis: str, value: Any) -> str:
    """Says an alteration in words that follow "SERVED is REFERENCE"."""
    if axis == "fit":
        kept = "all" if value[1] == 1 else f"{value[1]:.4g}"
        return FITS[value[0]] + (f", with {kept} of the shorter side" if kept != "all" or "crop" in value[0] else "")
    return f"resized by {value[0]} ({value[1]})" if axis == "resize" else WORDS[axis][value]
