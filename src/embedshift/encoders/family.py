"""What a family of encoders is told: the types of the rows in `families.py`."""

from dataclasses import dataclass, field
from typing import Any

from embedshift.encoders.base import AttentionKind
from embedshift.errors import UsageError

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Embedding:
    """One vector that a family can give.

    Args:
        name: What `embedding` calls it.
        reader: Which function of `embeddings.py` reads it.
        definition: In words, for lists, docs and study.json.
        drop: Parts of the model that it does without, besides those that the family drops.
    """

    name: str
    reader: str
    definition: str
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextTower:
    """How a family reads text, into the space of its first embedding.

    Args:
        reader: Which function of `text.py` reads the vector.
        drop: Children of the class that are taken out before loading: the parts that read no text.
        loader: Class of transformers that loads it; None = the family's.
        padded: Whether every text is padded to the greatest length, since it is the last token that is read.
    """

    reader: str = "text_features"
    drop: tuple[str, ...] = ("vision_model",)
    loader: str | None = None
    padded: bool = False


@dataclass(frozen=True)
class Family:
    """How one family of checkpoints is loaded and read.

    Args:
        title: What people call it.
        model_types: `model_type` of the configs that belong to it.
        loader: Class of transformers that loads it.
        embeddings: What it can give; the first is the default.
        example: A checkpoint, as `model` takes it.
        attention: Whose attention weights are measured; found by structure, said here for lists and docs;
            None = it depends on the model.
        architectures: Where several families share a `model_type`: classes that wrote the checkpoint.
        drop: Children of the class that are taken out before loading: the parts that see no picture.
        options: Further arguments of `from_pretrained`.
        stats: Mean and std where the checkpoint has no preprocessor_config.json.
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
        """One line: title, types, what it gives, whose attention.

        Example:
            >>> Family("ViT", ("vit",), "ViTModel", (Embedding("cls", "cls", "CLS token"),), "").summary
            'ViT (vit): CLS token; attention: cls'
        """
        types = f" ({', '.join(self.model_types)})" if self.model_types else ""
        first, *others = self.embeddings
        more = "".join(f", or `embedding` {other.name}: {other.definition}" for other in others)
        return (
            f"{self.title}{types}: {first.definition}{more}; attention: {self.attention or 'cls, else pool, else mean'}"
        )

    def choose(self, name: str | None) -> Embedding:
        """The embedding called `name`, None = the default; another name raises EmbedshiftError (exit code 2).

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
