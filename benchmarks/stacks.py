"""Real pairs of stacks and what `embedshift.parity` says of them, as the table of docs/parity.md.

usage: python benchmarks/stacks.py [--only PAIR ...]

It takes the images that tell steps apart. The bundled encoder is real; the other models are small with random weights,
so that nothing is downloaded, and their distances are only an example. Prints a line as soon as a pair is measured.
"""

import importlib
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx.utils
import open_clip
import torch
import transformers
from PIL import Image

import embedshift
from bench import BUNDLED, arguments, print_head, print_machine, print_row
from embedshift.encoders import bundled
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD
from support import library_models, models

# Without types of their own.
v2: Any = importlib.import_module("torchvision.transforms.v2")
timm_data: Any = importlib.import_module("timm.data")
quantization: Any = importlib.import_module("onnxruntime.quantization")
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE: dict[str, Any] = {"image_size": 224, "patch_size": 32}
Images = Sequence[Image.Image]


def bundled_graph(folder: Path) -> Path:
    """The bundled encoder's own graph, cut at its last hidden state, with its preprocessing beside it."""
    graph = onnx.load(bundled._onnx_file()).graph
    norms = [each.output[0] for each in graph.node if each.name.startswith("/backbone/") and "layernorm/" in each.name]
    folder.mkdir()
    onnx.utils.extract_model(str(bundled._onnx_file()), str(folder / "model.onnx"), [graph.input[0].name], norms[-1:])
    embedshift.load_encoder(BUNDLED)
    preprocessor = bundled.cached_folder() / "preprocessor_config.json"
    (folder / preprocessor.name).write_bytes(preprocessor.read_bytes())
    return folder


def quantised(folder: Path) -> Path:
    """The same graph with weights in int8."""
    out = bundled_graph(folder).with_name("int8")
    out.mkdir()
    quantization.quantize_dynamic(folder / "model.onnx", out / "model.onnx")
    (out / "preprocessor_config.json").write_bytes((folder / "preprocessor_config.json").read_bytes())
    return out


def behind(prepare: Callable[[Images], torch.Tensor], network: Callable[[torch.Tensor], Any]) -> Any:
    """A function of images: a preprocessing before a network."""

    def served(images: Images) -> Any:
        with torch.inference_mode():
            return torch.cat([network(pixels[None]) for pixels in prepare(images)]).numpy()

    return served


def class_token(folder: Path) -> Callable[[torch.Tensor], Any]:
    net = transformers.AutoModel.from_pretrained(folder).eval()
    return lambda pixels: net(pixel_values=pixels).last_hidden_state[:, 0]


def bundled_folder() -> Path:
    embedshift.load_encoder(BUNDLED)
    return bundled.cached_folder()


def on_torchvision(folder: Path) -> Callable[[Images], torch.Tensor]:
    """Transformers' image processor on torchvision ("fast"), in place of that on Pillow."""
    made = transformers.BitImageProcessor.from_pretrained(folder)
    return lambda images: made(images=list(images), return_tensors="pt")["pixel_values"]


def by_torchvision(*, antialias: bool) -> Callable[[Images], torch.Tensor]:
    """What many services write: tensors resized by torchvision, here without antialiasing."""
    resize = v2.Resize(256, v2.InterpolationMode.BICUBIC, antialias=antialias)
    floats = (v2.ToDtype(torch.float32, scale=True), v2.Normalize(*IMAGENET))
    steps = v2.Compose([v2.PILToTensor(), resize, v2.CenterCrop(224), *floats])
    return lambda images: torch.stack([steps(image) for image in images])


def by_timm() -> Callable[[Images], torch.Tensor]:
    """Timm's steps for most of its ViTs."""
    mean, std = IMAGENET
    steps: Any = timm_data.create_transform((3, 224, 224), mean=mean, std=std, crop_pct=0.9, interpolation="bicubic")
    return lambda images: torch.stack([steps(image) for image in images])


def service(folder: Path, *, rounded: str) -> tuple[str, Any]:
    """A checkpoint that crops 224; the service resizes to 256 and crops, compresses the input, and is rounded."""
    own = Path(shutil.copytree(bundled_folder(), folder / "own"))
    settings = json.loads((own / "preprocessor_config.json").read_text())
    (own / "preprocessor_config.json").write_text(json.dumps(settings | {"size": {"shortest_edge": 224}}))
    net = transformers.AutoModel.from_pretrained(own).eval()
    for part in net.modules():
        if rounded == "int8" and isinstance(part, torch.nn.Linear):  # 256 steps from the least to the largest of a row
            least, largest = part.weight.data.amin(1, keepdim=True), part.weight.data.amax(1, keepdim=True)
            step = (largest - least) / 255
            part.weight.data = ((part.weight.data - least) / step).round() * step + least
    kind = torch.bfloat16 if rounded == "bfloat16" else torch.float32
    net = net.to(kind)

    def prepare(images: Images) -> torch.Tensor:
        made = []
        for image in images:
            width, height = (int(256 * side / min(image.size)) for side in image.size)
            left, top = (width - 224) // 2, (height - 224) // 2
            image = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
            image.save(file := io.BytesIO(), "JPEG", quality=85)
            pixels = np.asarray(Image.open(file), np.float32) / 255
            made.append((pixels - settings["image_mean"]) / settings["image_std"])
        return torch.from_numpy(np.stack(made).transpose(0, 3, 1, 2)).to(kind)

    return str(own), behind(prepare, lambda pixels: net(pixel_values=pixels).last_hidden_state[:, 0].float())


def clip(folder: Path, *, quick: bool) -> tuple[str, str]:
    """open_clip's CLIP, with quick GELU or without, against transformers' of the same weights, which has it."""
    settings = SIZE | {"head_width": 8, "width": 32, "layers": 2}
    served = library_models.make_open_clip(folder / "open_clip", **settings)
    config = (served / "open_clip_config.json").read_text()
    if quick:
        config = config.replace('"embed_dim"', '"quick_gelu": true, "embed_dim"', 1)
    (served / "open_clip_config.json").write_text(config)
    weights = open_clip.create_model(f"local-dir:{served}").visual.state_dict()
    shape = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    target = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(**SIZE | shape, projection_dim=20, hidden_act="quick_gelu", layer_norm_eps=1e-5)
    )
    target.load_state_dict(in_transformers(weights), strict=False)
    target.save_pretrained(folder / "transformers")
    square = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
    models.write_preprocessor(folder / "transformers", **square, image_mean=CLIP_MEAN, image_std=CLIP_STD)
    return str(folder / "transformers"), f"open_clip:local-dir:{served}"


def in_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's weights of an image tower under the names of transformers."""
    names = {
        "class_embedding": "embeddings.class_embedding", "conv1.weight": "embeddings.patch_embedding.weight",
        "positional_embedding": "embeddings.position_embedding.weight", "ln_pre": "pre_layrnorm",
        "ln_post": "post_layernorm", "transformer.resblocks": "encoder.layers", "ln_1": "layer_norm1",
        "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    }  # fmt: skip
    made = {"visual_projection.weight": weights["proj"].T.contiguous()}
    for name, value in weights.items():
        if "in_proj" in name:
            kind = name.rpartition("_")[2]
            parts = zip("qkv", value.chunk(3), strict=True)
            entries = {name.replace(f"attn.in_proj_{kind}", f"self_attn.{part}_proj.{kind}"): v for part, v in parts}
        else:
            entries = {name: value}
        for entry, part in entries.items():
            renamed = entry
            for before, after in names.items():
                renamed = renamed.replace(before, after)
            made[f"vision_model.{renamed}"] = part.clone()
    return made


def as_served(prepare: Callable[[Images], torch.Tensor]) -> tuple[str, Any]:
    """The bundled encoder behind another preprocessing."""
    return BUNDLED, behind(prepare, class_token(bundled_folder()))


PAIRS: dict[str, tuple[str, Callable[[Path], tuple[Any, Any]]]] = {
    "onnx": ("bundled encoder, torch and ONNX", lambda folder: (BUNDLED, f"onnx:{bundled_graph(folder / 'graph')}")),
    "fast": ("transformers' processors, Pillow and torchvision", lambda _: as_served(on_torchvision(bundled_folder()))),
    "antialias": ("torchvision with `antialias=False`", lambda _: as_served(by_torchvision(antialias=False))),
    "timm": ("transformers' and timm's steps", lambda _: as_served(by_timm())),
    "int8": ("ONNX in dynamic int8", lambda folder: (BUNDLED, f"onnx:{quantised(folder / 'graph')}")),
    "quick": ("CLIP, transformers and open_clip", lambda folder: clip(folder, quick=True)),
    "gelu": ("the same without quick GELU", lambda folder: clip(folder, quick=False)),
    "service": (
        "a service of three steps: resized to 256 and cropped, JPEG 85 of the input, weights in 8 bits",
        lambda folder: service(folder, rounded="int8"),
    ),
    "service16": ("the same in bfloat16", lambda folder: service(folder, rounded="bfloat16")),
}


def main() -> None:
    options = arguments(__doc__, only=tuple(PAIRS))
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    print_machine()
    print_head("pair", "relative shift", "what is named", "explained", "1 − cosine left", "CPU s")
    for name in options.only:
        title, make = PAIRS[name]
        with tempfile.TemporaryDirectory() as folder:
            reference, served = make(Path(folder))
            begun = time.process_time()
            result = embedshift.parity(reference, served)
        steps = result.table()
        note = f" ({result.causes.note})" if result.causes and result.causes.note else ""
        named = ("; ".join(steps["alteration"]) or "nothing") + note
        left = result.distance.mean if result.causes is None else result.causes.unexplained
        explained = f"{np.floor(1e4 * float(steps['explained'].sum())) / 100:g} %" if len(steps) else ""
        shift, seconds = result.distance.relative_shift, time.process_time() - begun
        print_row(title, f"{shift:.2g}", named, explained, f"{left:.1g}", f"{seconds:.0f}")


if __name__ == "__main__":
    main()
