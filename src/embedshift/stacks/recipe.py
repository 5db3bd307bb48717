"""The steps from a file to a vector as a recipe: its axes, their values in common stacks, and their words."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedshift.config import Triple
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD, HALF, IMAGENET_MEAN, IMAGENET_STD

PILLOW = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
OPENCV = ("nearest", "linear", "cubic", "lanczos", "area")
KINDS, ALIASING = ("", " on floats", " on clamped floats", " on 8 bits"), ("", " without antialiasing")
TORCH = tuple(f"torch{kind}{aliasing}" for kind in KINDS for aliasing in ALIASING)
FITS = {
    "crop": "cropped after resizing", "squash": "squashed", "crop first": "cropped before resizing",
    "black": "padded with black", "grey": "padded with grey", "white": "padded with white",
}  # fmt: skip
RATIOS = (1.0, 0.875, 0.9, 0.95)
# JPEG qualities that are tried first; then qualities near one that helps.
QUALITIES, NEAR_QUALITY = (95, 90, 85, 80, 75, 70, 60, 50), 5
# Axis → value → the words after "SERVED is REFERENCE"; for axes in no other table.
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
    "jpeg": {quality: f"recompressed as JPEG {quality}" for quality in range(1, 101)},
    "input_jpeg": {quality: f"recompressed as JPEG {quality} after resizing" for quality in range(1, 101)},
    "channels": {"bgr": "with channels in order BGR", "late": "with BGR after mean and std"},
    "values": {255: "with values in 0 to 255", 1 / 255: "with values divided by 255 twice"},
    "precision": {
        "bfloat16": "in bfloat16", "float16": "in float16", "int8": "in int8 (dynamic)",
        "int8 weights": "with weights in int8",
    },
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
# Axis → how to give a stack the reference's step.
CHANGES = {
    "decoder": "decode JPEGs in full: `Image.open(file).convert('RGB')`, without `draft`",
    "orientation": "turn images by EXIF: `image = ImageOps.exif_transpose(image)`",
    "alpha": "put alpha on white: `Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)`",
    "inks": "convert CMYK by Pillow: `image = image.convert('RGB')`", "depth": "keep the high byte: `pixels >> 8`",
    "jpeg": "leave out the JPEG compression", "input_jpeg": "leave out the JPEG compression after resizing",
    "channels": "give RGB to mean and std and to the network: `pixels = pixels[..., ::-1]`",
    "values": "divide pixels by 255, once", "precision": "compute in float32, with weights that are not rounded",
    "positions": "interpolate positions as the encoder does: bicubic, without antialiasing",
    "pooling": "take the output of the encoder that the reference takes",
}  # fmt: skip
# Axes that touch only some files, axes that show which file tells most, and axes of the network.
OF_SOME_FILES, OF_ALL_FILES = ("orientation", "alpha", "inks", "depth"), ("decoder", "rounding", "fit", "channels")
OF_NETWORK, COMPRESSED = ("precision", "gelu", "positions"), ("jpeg", "input_jpeg")


@dataclass(frozen=True)
class Recipe:
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
    input_jpeg: int | None = None
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
    preprocess, library = encoder.preprocess, type(encoder.module).__module__.partition(".")[0]
    fit = "squash" if preprocess.squash else "crop"
    ratio = preprocess.size / max(preprocess.shortest or 0, preprocess.size)
    rounding = "floor" if library == "transformers" else "torchvision"
    statistics, resize = (preprocess.mean, preprocess.std), ("Pillow", PILLOW[preprocess.resample])
    return Recipe(preprocess.size, statistics, resize, (fit, ratio), rounding, gelu)


def axes_of(reference: Recipe, network: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    """Returns axis → all its values, the reference's first; `network` has those that depend on the encoder."""
    libraries = {"Pillow": PILLOW.values(), "OpenCV": OPENCV, **dict.fromkeys(TORCH, ("bilinear", "bicubic"))}
    libraries |= {library: ("bicubic",) for library in TORCH if "clamped" in library}  # the others stay in the range
    ratios = {
        kind: (*RATIOS, reference.fit[1]) if kind in ("crop", "squash", "crop first") else (1.0,) for kind in FITS
    }
    values: dict[str, Iterable[Any]] = {
        "resize": [(library, name) for library, names in libraries.items() for name in names],
        "fit": [(kind, ratio) for kind, kept in ratios.items() for ratio in kept],
        **WORDS,
        **dict.fromkeys(COMPRESSED, QUALITIES),
        **network,
    }
    return {axis: [*dict.fromkeys([getattr(reference, axis), *options])] for axis, options in values.items()}


def words(recipe: Recipe, axis: str) -> str:
    value, size, (kind, ratio) = getattr(recipe, axis), recipe.size, recipe.fit
    if axis == "resize":
        return f"resized by {value[0]} ({value[1]})"
    if axis != "fit":
        return WORDS[axis][value]
    if kind == "crop first":
        return f"{FITS[kind]}, to {ratio:.4g} of the shorter side"
    side = f"a shorter side of {size / ratio:.0f}" if kind == "crop" else f"{size / ratio:.0f} x {size / ratio:.0f}"
    return f"resized to {side}, then cropped to {size}" if kind == "crop" or ratio < 1 else FITS[kind]


def change(recipe: Recipe, axis: str) -> str:
    size, (mean, std), (kind, ratio) = recipe.size, recipe.statistics, recipe.fit
    crop = f"resize the shorter side to {size / ratio:.0f}, then crop {size}"
    lines = CHANGES | {
        "size": f"give the network {size} x {size} pixels",
        "statistics": f"normalise pixels from 0 to 1: `(pixels - {[*mean]}) / {[*std]}`",
        "resize": "resize by {} ({})".format(*recipe.resize),
        "fit": crop if kind == "crop" else f"resize to {size} x {size}, whatever the shape",
        "rounding": f"resize and crop {WORDS['rounding'][recipe.rounding]}",
        "gelu": f"compute {WORDS['gelu'].get(recipe.gelu, 'the GELU of the reference')}",
    }
    return lines[axis]
