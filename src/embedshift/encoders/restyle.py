"""Restyles images by diffusion: a pipeline of diffusers from a folder of safetensors, none of whose code is run."""

import hashlib
import json
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import torch
from PIL import Image

from embedshift.arrays import Pixels
from embedshift.config import Json
from embedshift.config.safe_files import read_file
from embedshift.encoders.device import find_device
from embedshift.encoders.folder import SETTINGS_BYTES, check_folder, local_path, no_such_folder
from embedshift.encoders.huggingface import hub_answers, quiet
from embedshift.encoders.libraries import library
from embedshift.encoders.trust import no_remote_code, refusing, settings_in
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.store.files import file_checksum

INDEX = "model_index.json"
# Libraries of a pipeline's parts; "stable_diffusion" is diffusers' module with the safety checker.
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
# Settings that name code or other weights.
REFUSED = ("auto_map", "custom_pipeline", "quantization_config", "trust_remote_code")
# Downloaded files of a model of the Hub: no pickle and no code.
PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")


@dataclass(frozen=True)
class View:
    """The settings of one view."""

    prompt: str
    strength: float
    seed: int


class Restyler:
    """An image-to-image pipeline on one device.

    Args:
        model: A local folder, or the name of a model of the Hub.
        device: As for encoders.
        steps: Steps of denoising of strength 1.
    """

    def __init__(self, model: str, device: str, steps: int) -> None:
        self.steps, self.device = steps, find_device(device)
        self.folder = _folder_of(model)
        _check(self.folder)
        self.pipe = _loaded(self.folder, self.device)
        self.factor = 2 * int(self.pipe.vae_scale_factor)
        network = getattr(self.pipe, "unet", None) or getattr(self.pipe, "transformer", None)
        size = getattr(network.config, "sample_size", None) if network is not None else None
        self.native = int(self.pipe.vae_scale_factor) * size if isinstance(size, int) else 1024

    def identity(self) -> Json:
        """Returns the identity of its views: files, device and number format."""
        digest = hashlib.sha256()
        for file in sorted(path for path in self.folder.rglob("*") if path.suffix in (".json", ".safetensors")):
            digest.update(f"{file.relative_to(self.folder)} {file_checksum(file)}\n".encode())
        kind = type(self.pipe).__name__
        return {"model": kind, "weights": digest.hexdigest(), "device": self.device.type, "dtype": str(self.pipe.dtype)}

    @property
    def memory(self) -> int:
        """Peak memory in bytes: of the GPU, or of this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def fit(self, image: Pixels) -> Pixels:
        """Returns the centre of an image whose sides are multiples of the model's patch."""
        height, width = (side - side % self.factor for side in image.shape[:2])
        if not height or not width:
            raise EmbedshiftError(f"it is smaller than {self.factor} pixels, which the model restyles at least")
        top, left = ((side - kept) // 2 for side, kept in zip(image.shape[:2], (height, width), strict=True))
        return np.ascontiguousarray(image[top : top + height, left : left + width])

    def round_trip(self, image: Pixels, seed: int) -> Pixels:
        """Returns the image after the model's VAE alone: the control of strength 0."""
        vae, processor = self.pipe.vae, self.pipe.image_processor
        kind = torch.float32 if getattr(vae.config, "force_upcast", False) else vae.dtype
        with torch.inference_mode():
            given = processor.preprocess(Image.fromarray(image)).to(self.device, kind)
            encoder = vae if vae.dtype == kind else vae.to(kind)
            latents = encoder.encode(given).latent_dist.sample(torch.Generator("cpu").manual_seed(seed))
            decoded = encoder.decode(latents, return_dict=False)[0]
        vae.to(self.pipe.dtype)
        return np.asarray(processor.postprocess(decoded.float(), output_type="pil")[0])

    def restyled(self, image: Pixels, views: Sequence[View]) -> list[Pixels]:
        """Returns views of one image at one strength, in one batch; refuses views blanked by the safety checker."""
        strength, given = views[0].strength, Image.fromarray(image)
        generators = [torch.Generator("cpu").manual_seed(view.seed) for view in views]
        output = self.pipe(
            prompt=[view.prompt for view in views],
            image=[given] * len(views),
            strength=strength,
            num_inference_steps=self.steps,
            generator=generators,
            output_type="pil",
        )
        flagged = getattr(output, "nsfw_content_detected", None) or ()
        if blanked := [view.prompt for view, is_flagged in zip(views, flagged, strict=False) if is_flagged]:
            raise EmbedshiftError(f"the model's safety checker blanked {blanked[0]!r} at strength {strength:g}")
        return [np.asarray(picture.convert("RGB")) for picture in output.images]


def _folder_of(model: str) -> Path:
    folder = local_path(model)
    if folder.is_dir():
        return folder
    if model.startswith(("/", "./", "../", "~")) or model.count("/") != 1:
        raise UsageError(no_such_folder(model))
    words = f"{no_such_folder(model)}, and no model of the Hugging Face Hub can be loaded"
    with refusing(words), quiet(), no_remote_code(local=not hub_answers()):
        return Path(huggingface_hub.snapshot_download(model, allow_patterns=[*PATTERNS]))


def _check(folder: Path) -> None:
    """Refuses a folder that names code, has only pickles, or points to files outside it."""
    try:
        index = json.loads(read_file(folder / INDEX, SETTINGS_BYTES))
    except (OSError, ValueError, RecursionError, EmbedshiftError) as error:
        words = f"no model of diffusers: {INDEX} cannot be read ({cause(error):.200})"
        raise UsageError(f"{folder}: {words}") from error
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(kind, str) or not kind.isidentifier():
        raise EmbedshiftError(f"{folder}: {INDEX} names a pipeline of its own ({kind!r:.80}); refused")
    parts = {name: part for name, part in index.items() if isinstance(part, list) and part != [None, None]}
    for name, part in parts.items():
        if len(part) != 2 or part[0] not in LIBRARIES or not str(part[1]).isidentifier() or Path(name).name != name:
            raise EmbedshiftError(f"{folder}: {INDEX} names {name} of {part!r:.80}; refused")
    for place in (folder, *(folder / name for name in parts)):
        if place != folder and place.is_symlink():
            raise EmbedshiftError(f"{place}: a link to a folder; put the folder itself there")
        check_folder(place)
        _check_part(place, needs_weights=place != folder)
    if code := next(folder.rglob("*.py"), None):
        raise EmbedshiftError(f"{code}: code; the model must be weights and settings alone")


def _check_part(place: Path, *, needs_weights: bool) -> None:
    for file in place.glob("*.json"):
        for key, value in settings_in(json.loads(read_file(file, SETTINGS_BYTES * 16))):
            if key in REFUSED and value:
                raise EmbedshiftError(f"{file}: names {key}; refused")
    has_pickle = any(next(place.glob(f"*{ending}"), None) for ending in (".bin", ".ckpt", ".pt", ".pth", ".pkl"))
    if needs_weights and has_pickle and not any(place.glob("*.safetensors")):
        raise EmbedshiftError(f"{place}: its weights are a pickle; give safetensors")


def _loaded(folder: Path, device: torch.device) -> Any:
    diffusers = library("diffusers", "restyle")
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    with refusing(f"{folder}: cannot be loaded"), quiet(), no_remote_code(local=True):
        pipe: Any = diffusers.AutoPipelineForImage2Image.from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
        if not hasattr(pipe, "vae") or not hasattr(pipe, "image_processor"):
            raise EmbedshiftError(f"{folder}: {type(pipe).__name__} has no VAE to compare with")
        pipe = pipe.to(device, torch.float16 if device.type == "cuda" else torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe
