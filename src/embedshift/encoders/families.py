"""The families of encoders that are known: data, one row each, read by `huggingface.py`."""

from dataclasses import dataclass, field
from typing import Any, Literal

Embedding = Literal["image_features", "image_embeds", "cls"]
Triple = tuple[float, float, float]

CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Family:
    """How one family of checkpoints is loaded and read.

    Args:
        title: What people call it.
        model_types: `model_type` of the configs that belong to it.
        loader: Class of transformers that loads it.
        embedding: "image_features" = the pooler output of `get_image_features`; "image_embeds" = that output of the
            forward pass; "cls" = the CLS token after the last layer norm.
        definition: The embedding in words, for lists and docs.
        example: A checkpoint on the Hub.
        drop: Children of the class that are taken out before loading: the parts that see no picture.
        options: Further arguments of the class.
        mean: Used where the checkpoint has no preprocessor_config.json.
        std: Likewise.
    """

    title: str
    model_types: tuple[str, ...]
    loader: str
    embedding: Embedding
    definition: str
    example: str
    drop: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD


FAMILIES = (
    Family(
        title="CLIP",
        model_types=("clip",),
        loader="CLIPModel",
        embedding="image_features",
        definition="projection of the pooled CLS token",
        example="openai/clip-vit-base-patch32",
        drop=("text_model",),
        mean=CLIP_MEAN,
        std=CLIP_STD,
    ),
    Family(
        title="CLIP, vision half",
        model_types=("clip_vision_model",),
        loader="CLIPVisionModelWithProjection",
        embedding="image_embeds",
        definition="projection of the pooled CLS token",
        example="a folder written by CLIPVisionModelWithProjection.save_pretrained",
        mean=CLIP_MEAN,
        std=CLIP_STD,
    ),
    Family(
        title="DINOv2",
        model_types=("dinov2",),
        loader="Dinov2Model",
        embedding="cls",
        definition="CLS token after the last layer norm",
        example="facebook/dinov2-small",
    ),
    Family(
        title="DINOv2 with registers",
        model_types=("dinov2_with_registers",),
        loader="Dinov2WithRegistersModel",
        embedding="cls",
        definition="CLS token after the last layer norm",
        example="facebook/dinov2-with-registers-base",
    ),
    Family(
        title="ViT",
        model_types=("vit",),
        loader="ViTModel",
        embedding="cls",
        definition="CLS token after the last layer norm",
        example="google/vit-base-patch16-224",
        options={"add_pooling_layer": False},
        mean=HALF,
        std=HALF,
    ),
)

BY_MODEL_TYPE = {model_type: family for family in FAMILIES for model_type in family.model_types}
