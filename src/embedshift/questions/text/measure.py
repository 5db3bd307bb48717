"""Metrics of views and text: whether views still match their words, and whether their shift points to a word."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Pixels, Values
from embedshift.config import Json
from embedshift.pipeline.measure import Column, Measure, StudyPlan, StudySwitches
from embedshift.questions.text import Switches
from embedshift.registry import metric
from embedshift.statistics.vectors import cosine, direction

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage
    from embedshift.sources import ImageRef

# Of vectors of length 1: rounding of float32 moves one by less, and that is no direction.
UNMOVED = 1e-6

TEXT: dict[str, Any] = {"no_change": 0.0, "higher_is_better": False, "optional": True}
LABELS = TEXT | {"asked_by": "labels", "depends_on": "labels"}


@metric("text-alignment shift", "text", **TEXT, low=-2.0, high=2.0, asked_by="text", depends_on="captions")
def text_alignment_shift(original: ArrayLike, view: ArrayLike, text: ArrayLike) -> Values:
    r"""Change of the cosine between image and caption; below 0, the view fits its caption less well.

    .. math:: \Delta = \cos(v, t) - \cos(o, t)

    Args:
        original: Original embeddings `[..., D]`.
        view: Embeddings of the views `[..., D]`.
        text: Vectors of the captions `[..., D]`.

    Returns:
        float64 `[...]` in [-2, 2]; 0 = no change. NaN if a norm is zero.

    Raises:
        ValueError: The vectors differ in length.

    Example:
        >>> text_alignment_shift([1.0, 0.0], [0.0, 1.0], [2.0, 0.0]).item()
        -1.0
    """
    return np.asarray(cosine(view, text) - cosine(original, text))


@metric("zero-shot flips", "text", **LABELS, low=0.0, high=1.0, binary=True)
def zero_shot_flip(original: ArrayLike, view: ArrayLike, classes: ArrayLike) -> Values:
    r"""Whether the zero-shot class of the view differs from the original's; the mean is the flip rate.

    .. math:: [\arg\max_c \cos(v, t_c) \ne \arg\max_c \cos(o, t_c)]

    Args:
        original: Original embeddings `[..., D]`.
        view: Embeddings of the views `[..., D]`.
        classes: Vectors of the class names `[C, D]`.

    Returns:
        float64 `[...]`, 1 = another class, 0 = the same. NaN if a norm is zero.

    Raises:
        ValueError: The vectors differ in length.

    Example:
        >>> zero_shot_flip([1.0, 0.2], [[2.0, 1.9], [0.1, 3.0]], [[1.0, 0.0], [0.0, 1.0]]).tolist()
        [0.0, 1.0]
    """
    before, after = (cosine(np.asarray(embeddings)[..., None, :], classes) for embeddings in (original, view))
    flipped = np.argmax(before, axis=-1) != np.argmax(after, axis=-1)
    is_defined = ~(np.isnan(before).any(axis=-1) | np.isnan(after).any(axis=-1))
    return np.asarray(np.where(is_defined, flipped, np.nan))


@metric("zero-shot margin shift", "text", **LABELS, low=-4.0, high=2.0)
def zero_shot_margin_shift(original: ArrayLike, view: ArrayLike, classes: ArrayLike) -> Values:
    r"""Change of the margin of the original's class; below 0, the classification is less certain.

    .. math:: m(v) - m(o), \quad m(x) = \cos(x, t_{c^*}) - \max_{c \ne c^*} \cos(x, t_c),
        \quad c^* = \arg\max_c \cos(o, t_c)

    Args:
        original: Original embeddings `[..., D]`.
        view: Embeddings of the views `[..., D]`.
        classes: Vectors of the class names `[C, D]`, two at least.

    Returns:
        float64 `[...]` in [-4, 2]; 0 = no change. NaN if a norm is zero.

    Raises:
        ValueError: The vectors differ in length.

    Example:
        >>> zero_shot_margin_shift([1.0, 0.0], [[2.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]).tolist()
        [0.0, -2.0]
    """
    return zero_shot_margin(original, view, classes) - zero_shot_margin(original, original, classes)


def zero_shot_margin(original: ArrayLike, view: ArrayLike, classes: ArrayLike) -> Values:
    before, after = (cosine(np.asarray(embeddings)[..., None, :], classes) for embeddings in (original, view))
    before, after = np.broadcast_arrays(before, after)
    original_class = np.argmax(before, axis=-1)[..., None]
    others = after.copy()
    np.put_along_axis(others, original_class, -np.inf, axis=-1)
    margin = np.take_along_axis(after, original_class, axis=-1)[..., 0] - others.max(axis=-1)
    return np.asarray(np.where(np.isnan(before).any(axis=-1), np.nan, margin))


def word_cosines(original: ArrayLike, view: ArrayLike, directions: ArrayLike) -> Values:
    shift = direction(view, original)
    is_unmoved = np.linalg.norm(shift, axis=-1, keepdims=True) <= UNMOVED
    return np.asarray(cosine(np.where(is_unmoved, 0.0, shift)[..., None, :], directions))


class MEASURE(Measure):
    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        # Listing metrics must not import this.
        from embedshift.questions.text.texts import gather

        self.texts = gather(study.config.of(Switches), study.suite.names, study.samples)
        self.metrics = self.texts.metrics
        # A search needs the vectors of captions and of all views.
        self.keeps_captions = bool(self.texts.captions) and study.config.store == "all"
        # Set by observe.py, by the text tower: vectors of classes `[C, D]`, of words `[W, D]`, and captions.
        self.tower, self.dim = "", 0
        self.classes: Values | None = None
        self.directions: Values | None = None
        self.captions: Mapping[str, Values] = {}

    def identity(self) -> Json:
        vectors = {"caption_vectors": True} if self.keeps_captions else {}
        return self.texts.describe() | vectors | {"tower": self.tower}

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        from embedshift.augmentations import ORIGINAL

        words = [name for name in self.texts.words if name != ORIGINAL]
        return [
            *([Column("word_cosines", len(words))] if words else []),
            *([Column("zero_shot_margin", None, of="original")] if self.texts.labels else []),
            *([Column("caption_vector", self.dim, of="original")] if self.keeps_captions else []),
        ]

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: StudyPlan) -> dict[str, Values]:
        values = self._metric_values(output, image.sample)
        caption = self.captions.get(image.sample.image_id)
        if caption is not None and self.keeps_captions:
            values["caption_vector"] = caption
        if self.classes is not None:
            original = output.embedding[0]
            values["zero_shot_margin"] = zero_shot_margin(original, original, self.classes)
        if self.directions is not None:
            values["word_cosines"] = word_cosines(output.embedding[:1], output.embedding[1:], self.directions)
        return values

    def of_pair(
        self, views: Pixels, output: "EncoderOutput", samples: "Sequence[ImageRef]", plan: StudyPlan
    ) -> dict[str, float]:
        return {name: float(values[0]) for name, values in self._metric_values(output, samples[0]).items()}

    def _metric_values(self, output: "EncoderOutput", sample: "ImageRef") -> dict[str, Values]:
        original, views = output.embedding[:1], output.embedding[1:]
        values: dict[str, Values] = {}
        caption = self.captions.get(sample.image_id)
        if caption is not None:
            values["text_alignment_shift"] = text_alignment_shift(original, views, caption)
        if self.classes is not None:
            values["zero_shot_flip"] = zero_shot_flip(original, views, self.classes)
            values["zero_shot_margin_shift"] = zero_shot_margin_shift(original, views, self.classes)
        return values
