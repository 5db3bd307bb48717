"""The vectors of files for a recipe: the steps from bytes to a network's input, and the altered network."""

import contextlib
import copy
import dataclasses
import functools
import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.changes import recompressed
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.structure import DTYPES, has_cls_token, patch_embedding, run_of_blocks
from embedshift.registry.extras import cv2
from embedshift.sources.images import decode
from embedshift.stacks.recipe import OF_NETWORK, PILLOW, Recipe, axes_of, recipe_of
from embedshift.stacks.result import ROUNDING
from embedshift.statistics.vectors import normalised

log = logging.getLogger(__name__)

Square = NDArray[Any]  # uint8, or float32 in [0, 255]

ORIENTATION = 0x0112
FILTERS = {name: Image.Resampling(number) for number, name in PILLOW.items()}
OPENCV_FLAGS = {"linear": 1, "nearest": 0, "cubic": 2, "area": 3, "lanczos": 4}
PADDING = {"black": 0, "grey": 127, "white": 255}
DECODING = ("jpeg", "orientation", "decoder", "alpha", "inks", "depth")
# Maximum cached decoded images.
KEPT = 48
GELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "exact": functional.gelu,
    "quick": lambda x: x * torch.sigmoid(1.702 * x),
    "tanh": functools.partial(functional.gelu, approximate="tanh"),
}
# Passes per image after which nothing new is tried.
MOST = 1_600
# Passes between two lines of progress.
COUNTED = 50
# Safety factor of the measured floor of rounding, which is at least `ROUNDING`.
ROOM = 10.0
# Roundings of vectors after the last norm: at pooling and at storage.
STORED = 2.0
# Maximum of 1 − cosine, also for vectors of another length and for undefined values.
LARGEST = 2.0


class Inputs:
    def __init__(self, files: Sequence[bytes]) -> None:
        self.files = files
        self._pixels = functools.lru_cache(KEPT)(self._decoded)

    def __call__(self, recipe: Recipe, index: int) -> Floats:
        size = recipe.size if recipe.decoder == "draft" else 0
        pixels = self._pixels(index, size, *(getattr(recipe, axis) for axis in DECODING))
        square = _square(pixels, recipe)
        if recipe.input_jpeg:
            square = recompressed(square.round().clip(0, 255).astype(np.uint8), recipe.input_jpeg)
        values = square.astype(np.float32) / np.float32(255 / recipe.values)
        mean, std = (np.asarray(triple, np.float32) for triple in recipe.statistics)
        values = (values[..., :: -1 if recipe.channels == "bgr" else 1] - mean) / std
        return np.ascontiguousarray(values[..., :: -1 if recipe.channels == "late" else 1].transpose(2, 0, 1))

    def _decoded(self, index: int, size: int, jpeg: int | None, orientation: bool, *how: str) -> Pixels:
        data = self.files[index]
        pixels = decode(data)
        if (orientation, *how) != (True, "full", "white", "pillow", "high"):
            with Image.open(io.BytesIO(data)) as image:
                turn = image.getexif().get(ORIENTATION, 1) if orientation else 1
                rgb = _rgb(image, data, size, *how)
            rgb.getexif()[ORIENTATION] = turn
            pixels = np.asarray(ImageOps.exif_transpose(rgb))
        return recompressed(pixels, jpeg) if jpeg else pixels


def _rgb(image: Image.Image, data: bytes, size: int, decoder: str, alpha: str, inks: str, depth: str) -> Image.Image:
    if image.mode == "CMYK" and inks == "opencv":
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return Image.fromarray(pixels[..., ::-1].copy())
    if image.format == "JPEG" and image.mode == "RGB" and decoder != "full":
        halves = image.width // 2, image.height // 2
        if decoder == "chroma" and [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]:  # type: ignore[attr-defined]
            luma, chroma = (_planes(data, sides) for sides in (image.size, halves))
            chroma = chroma.repeat(2, axis=0).repeat(2, axis=1)[: luma.shape[0], : luma.shape[1]]
            return Image.fromarray(np.dstack([luma[..., :1], chroma[..., 1:]]), "YCbCr").convert("RGB")
        if decoder != "chroma":
            image.draft("RGB", (size, size) if decoder == "draft" else halves)
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray((wide >> 8 if depth == "high" else wide.clip(0, 255)).astype(np.uint8))
    if image.has_transparency_data and alpha != "dropped":
        return Image.alpha_composite(Image.new("RGBA", image.size, alpha), image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _planes(data: bytes, sides: tuple[int, int]) -> Pixels:
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", sides)
    return np.asarray(image)


def _square(pixels: Pixels, recipe: Recipe) -> Square:
    size, (kind, ratio) = recipe.size, recipe.fit
    down = round if recipe.rounding in ("nearest", "sizes") else lambda x: int(x + 1e-6)
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if kind == "crop first":
        return _resized(_cropped(pixels, down(shorter * ratio), recipe), recipe, size, size)
    if kind in PADDING:
        part = _resized(pixels, recipe, *(max(1, down(side * size / max(height, width))) for side in (height, width)))
        gaps = [(size - side) // 2 for side in part.shape[:2]]
        around = [(gap, size - side - gap) for gap, side in zip(gaps, part.shape[:2], strict=True)]
        return np.pad(part, [*around, (0, 0)], constant_values=PADDING[kind])
    edge = down(size / ratio)
    sides = [edge if kind == "squash" or side == shorter else down(edge * side / shorter) for side in (height, width)]
    return _cropped(_resized(pixels, recipe, *sides), size, recipe)


def _cropped(pixels: Square, size: int, recipe: Recipe) -> Square:
    gaps = (side - size for side in pixels.shape[:2])
    top, left = (gap // 2 if recipe.rounding in ("floor", "sizes") else round(gap / 2) for gap in gaps)
    return pixels[top : top + size, left : left + size]


def _resized(pixels: Square, recipe: Recipe, height: int, width: int) -> Square:
    library, name = recipe.resize
    if pixels.shape[:2] == (height, width):
        return pixels
    if library == "Pillow":
        return np.asarray(Image.fromarray(pixels).resize((width, height), FILTERS[name]))
    if library == "OpenCV":
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=OPENCV_FLAGS[name]))
    # On 8 bits torch has kernels of its own, as in torchvision's transforms v2; v1 rounds the result of floats.
    kind = np.uint8 if "8 bits" in library else np.float32
    planes = torch.from_numpy(np.array(pixels, kind)).permute(2, 0, 1)[None]
    resized = functional.interpolate(planes, (height, width), mode=name, antialias="without" not in library)
    resized = resized if "on floats" in library else resized.clamp(0, 255)
    resized = resized if " on " in library else resized.round()
    return np.asarray(resized[0].permute(1, 2, 0).numpy())


class _Positions(TorchFunctionMode):
    """Context in which a network interpolates its positions by another method."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.is_used = how, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is functional.interpolate:
            self.is_used = True
            if self.how == "bilinear":
                kwargs["mode"] = "bilinear"
            elif self.how == "antialias":
                kwargs["antialias"] = True
            elif self.how == "offset":
                sides = zip(kwargs.pop("size"), args[0].shape[-2:], strict=True)
                kwargs["scale_factor"] = [(new + 0.1) / old for new, old in sides]
        return func(*args, **kwargs)


class Network:
    def __init__(self, encoder: ModuleEncoder) -> None:
        self.encoder = encoder
        self._modules = functools.cache(self._altered)
        self._outputs: list[Any] = []
        self._has_class = has_cls_token(encoder.module)
        kinds = {kind for part in encoder.module.modules() if (kind := _gelu(part))}
        self.gelu = kinds.pop() if len(kinds) == 1 else None
        probe = np.random.default_rng(0).normal(size=(1, 3, encoder.size, encoder.size)).astype(np.float32)
        with _Positions("own") as positions:
            vectors = self(probe, "float32", self.gelu, "own")
        own = vectors["own"]
        others = [n for n, v in vectors.items() if v.shape != own.shape or not np.allclose(v, own, 1e-4, 1e-5)]
        self.axes = {
            "gelu": GELUS if self.gelu else (),
            "positions": ("bilinear", "antialias", "offset") if positions.is_used else (),
            "precision": ("bfloat16", "float16", "int8 weights", *(["int8"] if encoder.device.type == "cpu" else [])),
            "pooling": others,
        }

    def __call__(self, inputs: Floats, precision: str, gelu: str | None, positions: str) -> dict[str, Values]:
        module, norms = self._modules(precision, gelu)
        pixels = torch.from_numpy(inputs).to(self.encoder.device, DTYPES.get(precision, torch.float32))
        self._outputs.clear()
        with torch.inference_mode(), self.encoder.tower.block_hooks.silent(), _Positions(positions):
            vectors = {"own": self.encoder.embed(module, pixels)}
            outputs = [output[0] if isinstance(output, tuple) else output for output in self._outputs]
            for before in outputs if outputs and outputs[0].ndim == 3 else ():
                fitting = [norm for norm in norms if norm.normalized_shape == before.shape[2:]]
                vectors |= self._pooled(before, fitting[-1](before) if fitting else before, inputs.shape[-1])
        return {name: vector.double().cpu().numpy() for name, vector in vectors.items()}

    def _pooled(self, before: Tensor, after: Tensor, side: int) -> dict[str, Tensor]:
        patch = patch_embedding(self.encoder.module)
        special = max(0, after.shape[1] - (side // patch.kernel_size[0]) ** 2) if patch else 0
        mean = after[:, special:].mean(dim=1)
        pooled = {"mean": mean, "mean before norm": before[:, special:].mean(dim=1), "all": after.mean(dim=1)}
        if self._has_class:
            pooled |= {"class": after[:, 0], "class before norm": before[:, 0]}
            pooled["both"] = torch.cat([after[:, 0], mean], dim=1)
        return pooled

    def _altered(self, precision: str, gelu: str | None) -> tuple[nn.Module, list[nn.LayerNorm]]:
        """Returns a copy of the encoder's module, with its own weights if altered; and the norms outside its blocks."""
        original, block_hooks = self.encoder.module, self.encoder.tower.block_hooks  # its hooks stay silent
        weights = original.parameters() if precision == "float32" else ()
        module = copy.deepcopy(original, {id(block_hooks): block_hooks, **{id(weight): weight for weight in weights}})
        for part in module.modules() if gelu != self.gelu else ():
            if _gelu(part):
                part.forward = GELUS[gelu or ""]  # of this instance
        blocks = run_of_blocks(module)
        inside = {*blocks.modules()} if blocks else set()
        norms = [part for part in module.modules() if isinstance(part, nn.LayerNorm) and part not in inside]
        if blocks:
            blocks[-1].register_forward_hook(lambda _module, _inputs, output: self._outputs.append(output))
        if precision == "int8":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                quantize: Any = torch.ao.quantization.quantize_dynamic
                quantize(module, {nn.Linear}, dtype=torch.qint8, inplace=True)
        for part in module.modules() if precision == "int8 weights" else ():
            if isinstance(part, nn.Linear):
                step = part.weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
                part.weight = nn.Parameter((part.weight / step).round() * step, requires_grad=False)
        return module.to(DTYPES.get(precision, torch.float32)), norms


def _gelu(part: nn.Module) -> str | None:
    """Returns the kind of GELU of a module, from its values; None for any other module."""
    if "gelu" not in type(part).__name__.lower():
        return None
    x = torch.linspace(-4, 4, 65)
    with torch.inference_mode():
        return next((kind for kind, gelu in GELUS.items() if torch.allclose(part(x), gelu(x), atol=1e-6)), None)


class Encodings:
    def __init__(self, encoder: ModuleEncoder, files: Sequence[bytes]) -> None:
        self.inputs, self.network = Inputs(files), Network(encoder)
        self.reference = recipe_of(encoder, self.network.gelu)
        self.axes = axes_of(self.reference, self.network.axes)
        # An input is made for its key, and used again at once if the key is new.
        self.input = functools.lru_cache(1)(self.inputs.__call__)
        self.hash = functools.cache(lambda r, i: hashlib.blake2b(self.input(r, i).tobytes()).digest()[:16])
        self.passes: dict[tuple[object, ...], dict[str, Values]] = {}
        self.most = MOST
        self._measured = range(len(files))[:3]

    @property
    def left(self) -> int:
        return max(0, self.most - len(self.passes))

    def key(self, recipe: Recipe, index: int) -> bytes:
        return self.hash(_of_pixels(recipe), index)

    def vector(self, recipe: Recipe, index: int) -> Values | None:
        altered = [getattr(recipe, axis) for axis in OF_NETWORK]
        key = (self.key(recipe, index), *altered)
        if key not in self.passes:
            if len(self.passes) % COUNTED == 0:  # without steps: an accidental fit of some images would look final
                log.info("%d of at most %d encodings", len(self.passes), self.most)
            self.passes[key] = {}
            with contextlib.suppress(Exception):  # a size that its positions cannot take
                vectors = self.network(self.input(_of_pixels(recipe), index)[None], *altered)
                self.passes[key] = {name: normalised(vector[0]) for name, vector in vectors.items()}
        return self.passes[key].get(recipe.pooling)

    def floor(self, recipe: Recipe) -> float:
        """Returns the distance due to rounding: measured between passes, or from storage in a recipe's precision."""
        kind = DTYPES.get(recipe.precision, torch.float32)
        vectors = [vector for index in self._measured if (vector := self.vector(recipe, index)) is not None]
        stored = [normalised(torch.from_numpy(vector).to(kind).double().numpy()) for vector in vectors]
        return max(self._of_passes, STORED * max(map(distance, vectors, stored), default=0.0))

    @functools.cached_property
    def _of_passes(self) -> float:
        inputs = np.stack([self.inputs(self.reference, index) for index in self._measured])
        directions = normalised(self.network(inputs, *(getattr(self.reference, axis) for axis in OF_NETWORK))["own"])
        apart = [distance(vector, self.vector(self.reference, index)) for index, vector in enumerate(directions)]
        return max(ROUNDING, ROOM * max(apart))


def distance(vector: Values | None, other: Values | None) -> float:
    """Returns half the squared difference of unit vectors, equal to 1 − cosine without loss of digits."""
    if vector is None or other is None or vector.shape != other.shape:
        return LARGEST
    return float(((vector - other) ** 2).sum() / 2)


def _of_pixels(recipe: Recipe) -> Recipe:
    """Returns a recipe without its network's steps: equal for recipes with equal inputs."""
    return dataclasses.replace(recipe, pooling="", precision="", gelu="", positions="")
