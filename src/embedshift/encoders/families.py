"""The table of known encoder families, one row each, and the types of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from embedshift.config import Triple
from embedshift.encoders.base import AttentionKind
from embedshift.errors import UsageError

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Embedding:
    """One embedding of a family; `reader` is a key in `READERS` of `huggingface.py`, `drop` lists unused parts."""

    name: str
    reader: str
    definition: str
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextTower:
    """How a family encodes text into the space of its first embedding; `reader` is a key in `READERS` of `text.py`.

    `loader` None = the family's class. Every text is `padded` to the greatest length where the last token is read.
    """

    reader: str = "text_features"
    drop: tuple[str, ...] = ("vision_model",)
    loader: str | None = None
    padded: bool = False


@dataclass(frozen=True)
class EncoderFamily:
    """How one family of checkpoints is loaded and read.

    Args:
        title: Its common name.
        model_types: Values of `model_type` in the configs that belong to it.
        loader: The transformers class that loads it.
        embeddings: The vectors that it offers; the first is the default.
        example: A checkpoint, as the setting `model` takes it.
        attention: Which query's attention weights are measured. The code finds it by structure; this value is for lists
            and docs. None = it depends on the model.
        architectures: If several families share a `model_type`: the classes that wrote the checkpoint.
        drop: Children of the class that are removed before loading, because they see no image.
        options: Further arguments of `from_pretrained`.
        stats: Mean and std for checkpoints without preprocessor_config.json.
        text: How it reads text; None = it has no text tower whose vectors can be compared with an embedding.
    """

    title: str
    model_types: tuple[str, ...]
    loader: str
    embeddings: tuple[Embedding, ...]
    example: str
    attention: AttentionKind | None = "cls"
    architectures: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    stats: tuple[Triple, Triple] = (IMAGENET_MEAN, IMAGENET_STD)
    text: TextTower | None = None

    @property
    def summary(self) -> str:
        """One line with title, types, embeddings and kind of attention: "ViT (vit): CLS token; attention: cls"."""
        types = f" ({', '.join(self.model_types)})" if self.model_types else ""
        first, *further = self.embeddings
        alternatives = "".join(f", or `embedding` {embedding.name}: {embedding.definition}" for embedding in further)
        attention = self.attention or "cls, else pool, else mean"
        return f"{self.title}{types}: {first.definition}{alternatives}; attention: {attention}"

    def choose(self, name: str | None) -> Embedding:
        """Returns the embedding `name`, None = the default; another name raises UsageError."""
        for embedding in self.embeddings:
            if name in {None, embedding.name}:
                return embedding
        names = ", ".join(embedding.name for embedding in self.embeddings)
        raise UsageError(f"{self.title} gives no embedding {name!r}. It gives: {names}")


CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
HALF: Triple = (0.5, 0.5, 0.5)
CLIP_STATS, HALF_STATS = (CLIP_MEAN, CLIP_STD), (HALF, HALF)

PROJECTION = Embedding("projection", "image_features", "projection of the pooled CLS token")
CLS = Embedding("cls", "cls", "CLS token after the last layer norm")

# Libraries with their own lists of models.
OPEN_CLIP = EncoderFamily(
    "open_clip (extra 'openclip')",
    (),
    "open_clip",
    (Embedding("projection", "image", "what encode_image gives, not normalised"),),
    "open_clip:ViT-B-32/laion2b_s34b_b79k",
    attention=None,
)
TIMM = EncoderFamily(
    "timm (extra 'openclip')",
    (),
    "timm",
    (Embedding("pooled", "image", "what the model gives without its classifier"),),
    "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
    attention=None,
)

CLIP = EncoderFamily(
    title="CLIP",
    model_types=("clip",),
    loader="CLIPModel",
    embeddings=(PROJECTION,),
    example="openai/clip-vit-base-patch32",
    drop=("text_model",),
    stats=CLIP_STATS,
    text=TextTower(),
)
SIGLIP = EncoderFamily(
    title="SigLIP, and SigLIP 2 of a fixed size",
    model_types=("siglip",),
    loader="SiglipModel",
    embeddings=(Embedding("pooled", "image_features", "output of the attention-pooling head"),),
    example="google/siglip-base-patch16-224",
    attention="pool",
    drop=("text_model",),
    stats=HALF_STATS,
    text=TextTower(padded=True),
)

ENCODER_FAMILIES = (
    CLIP,
    EncoderFamily(
        title="CLIP, vision half",
        model_types=("clip_vision_model",),
        loader="CLIPVisionModelWithProjection",
        embeddings=(Embedding("projection", "image_embeds", PROJECTION.definition),),
        example="folder of CLIPVisionModelWithProjection",
        stats=CLIP_STATS,
    ),
    replace(
        CLIP,
        title="ChineseCLIP",
        model_types=("chinese_clip",),
        loader="ChineseCLIPModel",
        example="OFA-Sys/chinese-clip-vit-base-patch16",
    ),
    replace(CLIP, title="AltCLIP", model_types=("altclip",), loader="AltCLIPModel", example="BAAI/AltCLIP"),
    replace(
        CLIP,
        title="MetaCLIP 2",
        model_types=("metaclip_2",),
        loader="MetaClip2Model",
        example="facebook/metaclip-2-worldwide-huge-quickgelu",
    ),
    SIGLIP,
    replace(
        SIGLIP,
        title="SigLIP 2 naflex",
        model_types=("siglip2",),
        loader="Siglip2Model",
        example="google/siglip2-base-patch16-naflex",
    ),
    EncoderFamily(
        title="BLIP, image-text retrieval",
        model_types=("blip",),
        loader="BlipForImageTextRetrieval",
        embeddings=(Embedding("projection", "vision_proj", "projection of the CLS token"),),
        example="Salesforce/blip-itm-base-coco",
        drop=("text_encoder", "text_proj", "itm_head"),
        stats=CLIP_STATS,
        text=TextTower("text_proj", ("vision_model", "vision_proj", "itm_head")),
    ),
    replace(
        CLIP,
        title="BLIP, BlipModel",
        model_types=("blip",),
        loader="BlipModel",
        example="folder of BlipModel",
        architectures=("BlipModel",),
    ),
    EncoderFamily(
        title="BLIP, captions and questions",
        model_types=("blip",),
        loader="BlipForImageTextRetrieval",
        embeddings=(CLS,),
        example="Salesforce/blip-image-captioning-base",
        architectures=("BlipForConditionalGeneration", "BlipForQuestionAnswering"),
        drop=("text_encoder", "text_proj", "vision_proj", "itm_head"),
        stats=CLIP_STATS,
    ),
    EncoderFamily(
        title="BLIP-2, image-text retrieval",
        model_types=("blip-2",),
        loader="Blip2VisionModelWithProjection",
        embeddings=(
            Embedding("projection", "projected_queries", "mean of the Q-Former's projected queries, not normalised"),
        ),
        example="Salesforce/blip2-itm-vit-g",
        stats=CLIP_STATS,
        text=TextTower("text_embeds", (), "Blip2TextModelWithProjection"),
    ),
    EncoderFamily(
        title="BLIP-2, captions",
        model_types=("blip-2",),
        loader="Blip2VisionModelWithProjection",
        embeddings=(Embedding("queries", "queries", "mean of the Q-Former's query states; no projection exists"),),
        example="Salesforce/blip2-opt-2.7b",
        architectures=("Blip2ForConditionalGeneration", "Blip2Model"),
        drop=("vision_projection",),
        stats=CLIP_STATS,
    ),
    EncoderFamily(
        title="Kosmos-2",
        model_types=("kosmos-2",),
        loader="Kosmos2Model",
        embeddings=(
            Embedding("pooled", "pooled", "pooled CLS token of the vision tower", drop=("image_to_text_projection",)),
            Embedding("latents", "image_tokens", "mean of the image tokens that the language model gets"),
        ),
        example="microsoft/kosmos-2-patch14-224",
        drop=("text_model",),
        stats=CLIP_STATS,
    ),
    EncoderFamily(
        title="IDEFICS, the open Flamingo",
        model_types=("idefics",),
        loader="IdeficsModel",
        embeddings=(
            Embedding("pooled", "pooled", "pooled CLS token of the vision tower", drop=("perceiver_resampler",)),
            Embedding("latents", "resampled", "mean of the perceiver resampler's latents"),
        ),
        example="HuggingFaceM4/idefics-9b",
        drop=("layers", "gated_cross_attn_layers", "embed_tokens", "norm"),
        stats=CLIP_STATS,
    ),
    EncoderFamily(
        title="Idefics2",
        model_types=("idefics2",),
        loader="Idefics2Model",
        embeddings=(
            Embedding("mean", "mean", "mean of the vision tower's patch tokens", drop=("connector",)),
            Embedding("latents", "connected_masked", "mean of the perceiver resampler's latents"),
        ),
        example="HuggingFaceM4/idefics2-8b",
        attention="mean",
        drop=("text_model",),
        stats=HALF_STATS,
    ),
    EncoderFamily(
        title="Idefics3",
        model_types=("idefics3",),
        loader="Idefics3Model",
        embeddings=(
            Embedding("mean", "mean", "mean of the vision tower's patch tokens", drop=("connector",)),
            Embedding("latents", "connected", "mean of the connector's image tokens"),
        ),
        example="HuggingFaceM4/Idefics3-8B-Llama3",
        attention="mean",
        drop=("text_model",),
        stats=HALF_STATS,
    ),
    EncoderFamily("DINOv2", ("dinov2",), "Dinov2Model", (CLS,), "facebook/dinov2-small"),
    EncoderFamily(
        "DINOv2 with registers",
        ("dinov2_with_registers",),
        "Dinov2WithRegistersModel",
        (CLS,),
        "facebook/dinov2-with-registers-base",
    ),
    EncoderFamily("DINOv3", ("dinov3_vit",), "DINOv3ViTModel", (CLS,), "facebook/dinov3-vitb16-pretrain-lvd1689m"),
    EncoderFamily(
        title="ViT",
        model_types=("vit",),
        loader="ViTModel",
        embeddings=(CLS,),
        example="google/vit-base-patch16-224",
        options={"add_pooling_layer": False},
        stats=HALF_STATS,
    ),
    EncoderFamily(
        title="DeiT",
        model_types=("deit",),
        loader="DeiTModel",
        embeddings=(CLS,),
        example="facebook/deit-base-distilled-patch16-224",
        options={"add_pooling_layer": False},
    ),
    OPEN_CLIP,
    TIMM,
)

MODEL_TYPES = tuple(dict.fromkeys(model_type for family in ENCODER_FAMILIES for model_type in family.model_types))


def family_of(model_type: str, architectures: Sequence[str] | None = None) -> EncoderFamily | None:
    """Returns the row of a model type; if several share it, the one of the checkpoint's architecture."""
    rows = [family for family in ENCODER_FAMILIES if model_type in family.model_types]
    written = [family for family in rows if {*family.architectures} & {*(architectures or ())}]
    return next(iter(written + rows), None)
