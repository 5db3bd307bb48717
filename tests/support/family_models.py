"""Every family as its users save it: tiny whole models with their text part, and what the library's eager pass gives.

A `Case` reads embedding and attention from the whole model, loaded by the library with `attn_implementation="eager"`:
nothing of ours is in the reference.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from torch import Tensor, nn

from embedshift import load_encoder
from embedshift.arrays import Pixels
from support import models
from support.models import PATCH, SIZE, TEXT, TOWER
from support.once import made

BERT = TEXT | {"max_position_embeddings": 40}
LLAMA = TEXT | {"num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0}
BLIP_TEXT = BERT | {"encoder_hidden_size": TOWER["hidden_size"], "projection_dim": 12}
QFORMER = BERT | {"encoder_hidden_size": TOWER["hidden_size"], "num_hidden_layers": 2, "cross_attention_frequency": 2}
OPT = TEXT | {"ffn_dim": 32, "word_embed_proj_dim": 16, "max_position_embeddings": 40}
KOSMOS_TEXT = {"vocab_size": 99, "embed_dim": 16, "layers": 1, "ffn_dim": 32, "attention_heads": 2}
IDEFICS_TOWER = {"embed_dim": 24, "image_size": SIZE, "patch_size": PATCH, "intermediate_size": 48} | {
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
PERCEIVER = {"resampler_n_latents": 5, "resampler_depth": 2, "resampler_n_heads": 2}


def two_towers(kind: str, text: dict[str, Any] = TEXT, vision: dict[str, Any] = TOWER, **more: Any) -> Any:
    config = getattr(hf, f"{kind}Config")(vision_config=vision, text_config=text, **more)
    return getattr(hf, f"{kind}Model")(config)


def siglip2() -> Any:
    tower = {key: value for key, value in TOWER.items() if key != "image_size"} | {"num_patches": 16}
    return two_towers("Siglip2", vision=tower)


def blip(cls: Any) -> Any:
    config = hf.BlipConfig(vision_config=TOWER, text_config=BLIP_TEXT, projection_dim=20, image_text_hidden_size=20)
    return cls(config)


def blip_2(cls: Any, **qformer: Any) -> Any:
    text = {"model_type": "opt", **OPT}
    sizes: dict[str, Any] = {"num_query_tokens": 6, "image_text_hidden_size": 20}
    return cls(hf.Blip2Config(vision_config=TOWER, qformer_config=QFORMER | qformer, text_config=text, **sizes))


def kosmos_2() -> Any:
    return hf.Kosmos2ForConditionalGeneration(
        hf.Kosmos2Config(vision_config=TOWER, text_config=KOSMOS_TEXT, latent_query_num=5)
    )


def idefics(*, use_resampler: bool = True) -> Any:
    return hf.IdeficsForVisionText2Text(
        hf.IdeficsConfig(
            **TEXT,
            additional_vocab_size=2,
            cross_layer_interval=1,
            use_resampler=use_resampler,
            vision_config=IDEFICS_TOWER,
            perceiver_config=PERCEIVER | {"resampler_head_dim": 6, "use_resampler": True},
        )
    )


def idefics2() -> Any:
    perceiver = PERCEIVER | {"resampler_head_dim": 8, "hidden_size": 16, "num_key_value_heads": 1}
    text = {"model_type": "mistral", **LLAMA}
    config = hf.Idefics2Config(vision_config=TOWER, perceiver_config=perceiver, text_config=text)
    return hf.Idefics2ForConditionalGeneration(config)


def idefics3() -> Any:
    config = hf.Idefics3Config(vision_config=TOWER, text_config={"model_type": "llama", **LLAMA}, scale_factor=2)
    return hf.Idefics3ForConditionalGeneration(config)


def dinov3() -> Any:
    return hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**TOWER | {"hidden_size": 32}, num_register_tokens=4))


def deit() -> Any:
    return hf.DeiTForImageClassificationWithTeacher(hf.DeiTConfig(**TOWER | {"num_labels": 5}))


# What the library's own eager pass gives.


def tower_of(model: Any) -> Any:
    for path in ("vision_model", "model.vision_model", "vit", "deit"):
        found = model
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is not None:
            return found
    return model


def given_by(part: nn.Module, run: Callable[[], Any]) -> Any:
    """What a part of a model gives during a pass of the whole."""
    caught: list[Any] = []
    hook = part.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    run()
    hook.remove()
    return caught[0]


def tower_pass(model: Any, pixels: Tensor) -> tuple[Any, Tensor]:
    """The tower's output, and the weights `[B, H, T, T]` that its last attention returns."""
    tower = tower_of(model)
    outputs: list[Any] = []
    attentions = [part for name, part in tower.named_modules() if name.rsplit(".", 1)[-1] in {"self_attn", "attention"}]
    last = [part for part in attentions if not isinstance(part, nn.MultiheadAttention)][-1]
    weights = given_by(last, lambda: outputs.append(tower(pixels, interpolate_pos_encoding=True)))[1]
    return outputs[0], weights


def cls_row(model: Any, pixels: Tensor) -> Tensor:
    return tower_pass(model, pixels)[1][:, :, 0].mean(dim=1)


def mean_row(model: Any, pixels: Tensor) -> Tensor:
    return tower_pass(model, pixels)[1].mean(dim=(1, 2))


def pool_row(model: Any, pixels: Tensor) -> Any:
    weights: Tensor = given_by(model.vision_model.head.attention, lambda: image_features(model, pixels))[1]
    return weights[:, 0]


def image_features(model: Any, pixels: Tensor) -> Any:
    return model.get_image_features(**siglip2_inputs(model, pixels)).pooler_output


def siglip2_inputs(model: Any, pixels: Tensor) -> dict[str, Any]:
    """Pixels, or the patches that the library's own processor makes of them."""
    if model.config.model_type != "siglip2":
        return {"pixel_values": pixels, "interpolate_pos_encoding": True}
    count = (pixels.shape[-1] // PATCH) ** 2
    processor = hf.Siglip2ImageProcessor(
        patch_size=PATCH, max_num_patches=count, do_resize=False, do_rescale=False, do_normalize=False
    )
    return dict(processor(list(pixels), return_tensors="pt"))


def last_cls(model: Any, pixels: Tensor) -> Any:
    return tower_pass(model, pixels)[0].last_hidden_state[:, 0]


def pooled(model: Any, pixels: Tensor) -> Any:
    return tower_pass(model, pixels)[0].pooler_output


def mean_of_patches(model: Any, pixels: Tensor) -> Any:
    return tower_pass(model, pixels)[0].last_hidden_state.mean(dim=1)


def blip_projection(model: Any, pixels: Tensor) -> Tensor:
    """What goes into the normalisation inside the class: its `vision_proj` on the whole model's own pass."""
    given = {"input_ids": torch.ones(len(pixels), 3, dtype=torch.long), "use_itm_head": False}
    run = functools.partial(model, pixel_values=pixels, interpolate_pos_encoding=True, **given)
    projected: Tensor = given_by(model.vision_proj, run)
    return projected[:, 0] if projected.ndim == 3 else projected


def blip_2_projection(model: Any, pixels: Tensor) -> Any:
    """What the vision class puts into its normalisation; it shares every weight with the whole model, which
    itself knows one size only."""
    vision: Any = hf.Blip2VisionModelWithProjection(model.config)
    vision.eval()
    vision.load_state_dict(model.state_dict(), strict=False)
    run = functools.partial(vision, pixel_values=pixels, interpolate_pos_encoding=True)
    return given_by(vision.vision_projection, run).mean(dim=1)


def blip_2_queries(model: Any, pixels: Tensor) -> Any:
    features = model.get_image_features(pixels, interpolate_pos_encoding=True)
    return features.qformer_outputs.last_hidden_state.mean(dim=1)


def kosmos_latents(model: Any, pixels: Tensor) -> Any:
    return model.get_image_features(pixels, interpolate_pos_encoding=True).pooler_output.mean(dim=1)


def idefics_latents(model: Any, pixels: Tensor) -> Any:
    """From the whole model's own pass over one picture and a few words."""
    words = torch.ones(len(pixels), 3, dtype=torch.long)
    given = {"input_ids": words, "image_attention_mask": words[..., None]}
    run = functools.partial(model, pixel_values=pixels[:, None], interpolate_pos_encoding=True, **given)
    return given_by(model.model.perceiver_resampler, run).mean(dim=1)


def idefics_tokens(model: Any, pixels: Tensor) -> Tensor:
    """Idefics2 and 3: the tokens that the language model gets."""
    return torch.stack(list(model.get_image_features(pixels[:, None]).pooler_output)).mean(dim=1)


@dataclass(frozen=True)
class Case:
    """One family, or one of its embeddings."""

    kind: str
    make: Callable[[], Any]
    embedding: Callable[[Any, Tensor], Any]
    row: Callable[[Any, Tensor], Any] = cls_row
    attention: str = "cls"
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}" if self.name else self.kind

    def reference(self, folder: Path) -> Any:
        return type(self.make()).from_pretrained(folder, attn_implementation="eager").eval()


CASES = (
    Case("clip", models.clip, image_features),
    Case("chinese_clip", lambda: two_towers("ChineseCLIP", BERT, projection_dim=20), image_features),
    Case("altclip", lambda: two_towers("AltCLIP", BERT | {"project_dim": 20}, projection_dim=20), image_features),
    Case("metaclip_2", lambda: two_towers("MetaClip2", projection_dim=20), image_features),
    Case("siglip", lambda: two_towers("Siglip"), image_features, pool_row, "pool"),
    Case("siglip2", siglip2, image_features, pool_row, "pool"),
    Case("blip_itm", lambda: blip(hf.BlipForImageTextRetrieval), blip_projection),
    Case("blip_model", lambda: blip(hf.BlipModel), image_features),
    Case("blip_caption", lambda: blip(hf.BlipForConditionalGeneration), last_cls),
    Case("blip_vqa", lambda: blip(hf.BlipForQuestionAnswering), last_cls),
    Case("blip_2_itm", lambda: blip_2(hf.Blip2ForImageTextRetrieval, use_qformer_text_input=True), blip_2_projection),
    Case("blip_2_caption", lambda: blip_2(hf.Blip2ForConditionalGeneration), blip_2_queries),
    Case("kosmos_2", kosmos_2, pooled),
    Case("kosmos_2", kosmos_2, kosmos_latents, name="latents"),
    Case("idefics", idefics, pooled),
    Case("idefics", idefics, idefics_latents, name="latents"),
    Case("idefics2", idefics2, mean_of_patches, mean_row, "mean"),
    Case("idefics2", idefics2, idefics_tokens, mean_row, "mean", name="latents"),
    Case("idefics3", idefics3, mean_of_patches, mean_row, "mean"),
    Case("idefics3", idefics3, idefics_tokens, mean_row, "mean", name="latents"),
    Case("dinov2", models.dinov2, last_cls),
    Case("dinov2_registers", models.MAKERS["dinov2_registers"], last_cls),
    Case("dinov3", dinov3, last_cls),
    Case("vit", models.MAKERS["vit_classifier"], last_cls),
    Case("deit", deit, last_cls),
)


# The case of each kind; of several embeddings the default.
BY_KIND = {case.kind: case for case in CASES[::-1]}


def save(case: Case, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    model = case.make()
    models.widen(model)
    return models.save(model.to(dtype), folder)


# What a process makes or loads once; for reading alone, but for what a test sets back.


def checkpoint(kind: str) -> Path:
    """The folder of a family's checkpoint."""
    return made(_checkpoint, kind) / kind


def _checkpoint(folder: Path, kind: str) -> None:
    save(BY_KIND[kind], folder / kind)


@functools.cache
def encoder(kind: str, embedding: str | None = None) -> Any:
    """The encoder that is loaded from it."""
    return load_encoder(str(checkpoint(kind)), embedding=embedding)


@functools.cache
def eager(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    """The whole model that the library loads from it, with eager attention."""
    return BY_KIND[kind].reference(checkpoint(kind)).to(dtype)


def views(count: int = 3, size: int = SIZE) -> Pixels:
    """Views of noise."""
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def pixels(given: Pixels, dtype: torch.dtype = torch.float32, of: Any = None) -> Tensor:
    """Views as a model gets them: normalised as the checkpoints here say, or as an encoder does."""
    mean, std = (models.MEAN, models.STD) if of is None else (of.mean, of.std)
    return torch.from_numpy(((given / 255 - mean) / std).transpose(0, 3, 1, 2)).to(dtype)
