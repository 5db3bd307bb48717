"""The types of the rows in `families.py`: how a family of encoders is loaded and read."""

from dataclasses import dataclass, field
from typing import Any

from embedshift.encoders.base import AttentionKind
from embedshift.errors import UsageError

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Embedding:
    """One vector that a family offers.

    Args:
        name: Its name in the setting `embedding`.
        reader: The function of `embeddings.py` that reads it.
        definition: A description for lists, docs and study.json.
        drop: Parts of the model that it does not need, in addition to those that the family drops.
    """

    name: str
    reader: str
    definition: str
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextTower:
    """How a family reads text, into the space of its first embedding.

    Args:
        reader: The function of `text.py` that reads the vector.
        drop: Children of the class that are removed before loading, because they read no text.
        loader: The transformers class that loads it; None = the family's.
        padded: Whether every text is padded to the greatest length, because the last token is read.
    """

    reader: str = "text_features"
    drop: tuple[str, ...] = ("vision_model",)
    loader: str | None = None
    padded: bool = False


@dataclass(frozen=True)
class Family:
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
        """One line with title, types, embeddings and kind of attention.

        Example:
            >>> Family("ViT", ("vit",), "ViTModel", (Embedding("cls", "cls", "CLS token"),), "").summary
            'ViT (vit): CLS token; attention: cls'
        """
        types = f" ({', '.join(self.model_types)})" if self.model_types else ""
        first, *further = self.embeddings
        alternatives = "".join(f", or `embedding` {embedding.name}: {embedding.definition}" for embedding in further)
        attention = self.attention or "cls, else pool, else mean"
        return f"{self.title}{types}: {first.definition}{alternatives}; attention: {attention}"

    def choose(self, name: str | None) -> Embedding:
        """Returns the embedding `name`, None = the default; another name raises EmbedshiftError (exit code 2).

        Example:
            >>> vit = Family("ViT", ("vit",), "ViTModel", (Embedding("cls", "cls", "CLS token"),), "google/vit-base")
            >>> vit.choose("latents")
            Traceback (most recent call last):
            embedshift.errors.UsageError: ViT gives no embedding 'latents'. It gives: cls
        """
        for embedding in self.embeddings:
            if name in {None, embedding.name}:
                return embedding
        names = ", ".join(embedding.name for embedding in self.embeddings)
        raise UsageError(f"{self.title} gives no embedding {name!r}. It gives: {names}")
