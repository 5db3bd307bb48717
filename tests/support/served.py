"""Another stack, written by itself: its own steps from a file to a vector.

Nothing here comes from `embedshift.stacks`; only the weights are the reference's.
"""

import copy
import functools
import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn
from torchvision.transforms import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms import functional as tv

Array = NDArray[Any]
Stack = dict[str, Any]

STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
# Axis → the value of the reference.
REFERENCE: Stack = {
    "decoder": "full", "orientation": True, "alpha": "white", "inks": "pillow", "depth": "high", "jpeg": None,
    "resize": "pillow bicubic", "fit": "crop .875", "rounding": "floor", "channels": "rgb", "values": "unit",
    "statistics": "imagenet", "precision": "float32", "gelu": "exact", "positions": "own",
    "pooling": "class", "input_jpeg": None,
}  # fmt: skip


def as_value(axis: str, value: Any) -> Any:
    """The value of a recipe that a step of a stack is."""
    if axis == "statistics":
        return STATISTICS[value]
    if axis == "values":
        return {"unit": 1, "255": 255}[value]
    if axis == "fit":
        kind, *ratio = value.rsplit(" ", 1) if value.startswith("crop ") and value != "crop first" else (value,)
        return kind, float(ratio[0]) if ratio else 1.0
    if axis == "resize":
        library, name, *rest = value.split()
        words = {(): "", ("aliased",): " without antialiasing", ("floats",): " on floats"}
        return {"opencv": "OpenCV", "pillow": "Pillow"}.get(library, library) + words[tuple(rest)], name
    return "own" if (axis, value) == ("pooling", "class") else value


def decode(data: bytes, stack: Stack) -> Image.Image:
    image: Any = Image.open(io.BytesIO(data))
    turn = image.getexif().get(274, 1)
    is_jpeg = data[:2] == b"\xff\xd8" and image.mode == "RGB"
    if image.mode == "CMYK" and stack["inks"] == "opencv":
        array: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR + cv2.IMREAD_IGNORE_ORIENTATION)
        image = Image.fromarray(cv2.cvtColor(array, cv2.COLOR_BGR2RGB))
    elif is_jpeg and stack["decoder"] == "half":
        image.draft(None, (image.width // 2, image.height // 2))
    elif is_jpeg and stack["decoder"] == "chroma":
        image = with_repeated_chroma(data)
    if image.mode == "I;16":
        wide = np.asarray(image).astype(int)
        image = Image.fromarray(
            (np.minimum(wide, 255) if stack["depth"] == "clipped" else wide // 256).astype(np.uint8)
        )
    if "A" in image.mode:
        image = image.convert("RGBA")
        if stack["alpha"] == "dropped":
            image = Image.fromarray(np.asarray(image)[..., :3])
        else:
            canvas = Image.new("RGBA", image.size, stack["alpha"])
            canvas.alpha_composite(image)
            image = canvas
    image = image.convert("RGB")
    if stack["orientation"] and turn > 1:
        exif = Image.Exif()
        exif[274] = turn
        coded = io.BytesIO()
        image.save(coded, "PNG", exif=exif)
        image = ImageOps.exif_transpose(Image.open(coded)).convert("RGB")
    return Image.fromarray(np.asarray(image))


def with_repeated_chroma(data: bytes) -> Image.Image:
    """What libjpeg gives without fancy upsampling, from the planes of OpenCV-free decodes at two scales."""
    full, half = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
    full.draft("YCbCr", full.size)
    half.draft("YCbCr", (half.width // 2, half.height // 2))
    luma, small = np.asarray(full), np.asarray(half)
    chroma = np.kron(small[..., 1:], np.ones((2, 2, 1), np.uint8))[: luma.shape[0], : luma.shape[1]]
    return Image.merge(
        "YCbCr", [Image.fromarray(np.ascontiguousarray(plane)) for plane in (luma[..., 0], *np.moveaxis(chroma, 2, 0))]
    ).convert("RGB")


def compressed(image: Image.Image, quality: int) -> Image.Image:
    coded = io.BytesIO()
    image.save(coded, format="JPEG", quality=quality)
    return Image.open(io.BytesIO(coded.getvalue())).convert("RGB")


def resize(image: Array, height: int, width: int, how: str) -> Array:
    library, name, *rest = how.split()
    if image.shape[:2] == (height, width):
        return image
    if library == "pillow":
        number = getattr(Image.Resampling, name.upper())
        return np.asarray(Image.fromarray(image).resize((width, height), number))
    if library == "opencv":
        return cv2.resize(image, (width, height), interpolation=getattr(cv2, f"INTER_{name.upper()}"))
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    tensor = tensor.float() if rest == ["floats"] else tensor
    made: Any = tv.resize(tensor, [height, width], InterpolationMode(name), antialias=rest != ["aliased"])
    return np.asarray(made.permute(1, 2, 0).numpy())


def square(image: Array, stack: Stack, size: int) -> Array:
    fit, rounding, how = stack["fit"], stack["rounding"], stack["resize"]
    whole = round if rounding in ("nearest", "sizes") else int
    height, width = image.shape[:2]

    def centre(array: Array, side: int) -> Array:
        corner = [(n - side) / 2 for n in array.shape[:2]]
        top, left = (int(c) if rounding in ("floor", "sizes") else round(c) for c in corner)
        return array[top : top + side, left : left + side]

    if fit == "squash":
        return resize(image, size, size, how)
    if fit == "crop first":
        return resize(centre(image, min(height, width)), size, size, how)
    if fit == "grey":
        longest = max(height, width)
        h, w = whole(height * size / longest), whole(width * size / longest)
        made = resize(image, h, w, how)
        top, left = (size - h) // 2, (size - w) // 2
        sides = [(top, size - h - top), (left, size - w - left), (0, 0)]
        return np.pad(made, sides, constant_values=127)
    short = whole(size / float(fit.split()[1]))
    if height < width:
        return centre(resize(image, short, whole(short * width / height), how), size)
    return centre(resize(image, whole(short * height / width), short, how), size)


class Served:
    """A stack that has the weights of a DINOv2 of transformers."""

    def __init__(self, model: nn.Module, size: int, statistics: Any) -> None:
        self.model, self.size, self.statistics = model, size, STATISTICS | statistics
        self._altered = functools.cache(self._made)

    def __call__(self, files: Sequence[bytes], stack: Stack) -> Array:
        return np.concatenate([self.one(data, stack) for data in files])

    def one(self, data: bytes, stack: Stack) -> Array:
        image = decode(data, stack)
        image = compressed(image, stack["jpeg"]) if stack["jpeg"] else image
        input_ = square(np.asarray(image), stack, self.size)
        if stack["input_jpeg"]:
            input_ = np.asarray(compressed(Image.fromarray(input_), stack["input_jpeg"]))
        pixels = torch.from_numpy(np.array(input_, dtype=np.float32))
        pixels = pixels / {"unit": 255, "255": 1}[stack["values"]]
        if stack["channels"] == "bgr":
            pixels = pixels[..., [2, 1, 0]]
        pixels = tv.normalize(pixels.permute(2, 0, 1), *self.statistics[stack["statistics"]])
        return self.pooled(pixels[None], stack)

    def pooled(self, pixels: torch.Tensor, stack: Stack) -> Array:
        model: Any = self._altered(stack["precision"], stack["gelu"], stack["positions"])
        dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(stack["precision"], torch.float32)
        with torch.inference_mode():
            after = model(pixel_values=pixels.to(dtype)).last_hidden_state.float()
        vectors = {"class": after[:, 0], "both": torch.cat([after[:, 0], after[:, 1:].mean(1)], -1)}
        return np.asarray(vectors[stack["pooling"]].numpy())

    def _made(self, precision: str, gelu: str, positions: str) -> Any:
        model: Any = copy.deepcopy(self.model)
        for layer in model.encoder.layer if gelu == "quick" else ():
            layer.mlp.activation_fn = Sigmoids()
        if positions != "own":
            model.embeddings.interpolate_pos_encoding = Positions(model.embeddings, positions)
        if precision == "int8 weights":
            for name, weight in model.named_parameters():
                if weight.ndim == 2 and name.endswith("weight"):
                    steps = np.abs(weight.detach().numpy()).max(1, keepdims=True) / 127
                    weight.data = torch.from_numpy(np.rint(weight.detach().numpy() / steps) * steps)
        elif precision != "float32":
            model = model.to(getattr(torch, precision))
        return model


class Sigmoids(nn.Module):
    """Quick GELU, as OpenAI wrote it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1.702 * x).sigmoid()


class Positions:
    """Positions interpolated otherwise than bicubically without antialiasing."""

    def __init__(self, embeddings: Any, how: str) -> None:
        self.embeddings, self.how = embeddings, how

    def __call__(self, tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
        table = self.embeddings.position_embeddings
        side, patch = int((table.shape[1] - 1) ** 0.5), self.embeddings.patch_size
        grid = table[0, 1:].float().T.reshape(1, -1, side, side)
        mode = "bilinear" if self.how == "bilinear" else "bicubic"
        new = torch.nn.functional.interpolate(
            grid, (height // patch, width // patch), mode=mode, antialias=self.how == "antialias"
        )
        return torch.cat([table[:, :1], new.to(table.dtype).flatten(2).transpose(1, 2)], 1)


def twelve_files(photos: Sequence[Image.Image]) -> list[bytes]:
    """Twelve files of photos: plain JPEGs, and one for each peculiarity that tells steps apart."""

    def coded(image: Image.Image, kind: str = "JPEG", **settings: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **settings)
        return file.getvalue()

    photos = [photo.convert("RGB") for photo in photos]
    exif = Image.Exif()
    exif[274] = 6
    odd = photos[5].crop((0, 0, photos[5].width - 38, photos[5].height - 71))
    clear = photos[7].convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    wide = np.asarray(photos[9].convert("L")).astype(np.uint16) * 257
    controls = [photo.resize((224, 224), Image.Resampling.LANCZOS) for photo in photos[10:12]]
    return [
        *(coded(photo, quality=92) for photo in photos[:4]),
        coded(photos[4], exif=exif),
        coded(odd, quality=90),
        coded(photos[6].convert("L")),
        coded(clear, "PNG"),
        coded(photos[8].convert("CMYK")),
        coded(Image.fromarray(wide), "PNG"),
        *(coded(control, "PNG") for control in controls),
    ]


def squares_and_slopes() -> list[Image.Image]:
    """Images of squares and slopes, as wide as no square."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(12):
        height, width = (97, 131) if number % 2 else (142, 89)
        squares = rng.uniform(0, 255, (12, 12, 3)).repeat(12, 0).repeat(12, 1)[:height, :width]
        slope = np.linspace(0, 60, width)[None, :, None] + rng.normal(0, 8, (height, width, 3))
        made.append(Image.fromarray((0.7 * squares + slope).clip(0, 255).astype(np.uint8)))
    return made
