"""Words of images by an encoder with a text tower, which need not be the study's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.sources import image_reader, images
from embedshift.sources.bank import read_bank
from embedshift.statistics.meaning import FURTHEST, LEAST_FURTHEST
from embedshift.statistics.vectors import normalised
from embedshift.store.reader import Reader

if TYPE_CHECKING:
    from embedshift.study import Study

# Images per batch.
BATCH = 32


def name_images(study: "Study", namer: str, words: str | Sequence[str] | None = None) -> dict[str, list[str]]:
    """Finds the images that each word fits best, by an encoder with a text tower.

    An image and a word fit by the cosine of their vectors, after the mean of all images was subtracted. A word gets the
    tenth of the images that fit it best, or ten if these are more.

    Args:
        study: A finished study, whose images are read again unless `namer` is its own encoder.
        namer: Name or folder of the encoder, as `model` of `embedshift.run`.
        words: Words or phrases, or a file of them, one a line; None = open_clip's names of the classes of ImageNet.

    Returns:
        Word → ids of its images; `study.meaning(words=...)` takes it.

    Raises:
        UsageError: The encoder has no text tower, or an image cannot be read.

    Example:
        >>> from embedshift import load, name_images
        >>> study = load("study")  # doctest: +SKIP
        >>> study.meaning(words=name_images(study, "openai/clip-vit-base-patch32"))  # doctest: +SKIP
    """
    from embedshift.encoders import load_text_encoder
    from embedshift.encoders.text import default_bank

    texts = default_bank() if words is None else read_bank(words) if isinstance(words, str) else tuple(words)
    reader = study.reader()
    text_vectors = normalised(load_text_encoder(namer)(texts))
    rows = reader.rows().filter(pl.col("view") == ORIGINAL)
    ids = rows.select("image_id").collect()["image_id"].to_list()
    if namer == reader.info.config["model"] and reader.info.has_vectors:
        vectors = rows.select("embedding").collect()["embedding"].to_numpy()
    else:
        vectors = _encoded(reader, namer, ids)
    if vectors.shape[1] != text_vectors.shape[1]:
        raise UsageError(f"{namer}: its text vectors and embeddings do not share one space")
    centred = normalised(vectors)
    fits = normalised(centred - centred.mean(axis=0)) @ text_vectors.T
    count = min(max(LEAST_FURTHEST, round(FURTHEST * len(ids))), len(ids))
    best = np.argsort(-fits, axis=0, kind="stable")[:count]
    return {text: [ids[row] for row in best[:, column]] for column, text in enumerate(texts)}


def _encoded(reader: Reader, namer: str, ids: Sequence[str]) -> Floats:
    from embedshift.encoders import load_encoder
    from embedshift.pipeline.batches import encode_views
    from embedshift.pipeline.plan import encoder_preprocess, to_input

    encoder, read = load_encoder(namer), image_reader(reader.source, reader.roots)
    fit, vectors = to_input(encoder_preprocess(encoder), "own"), []
    for start in range(0, len(ids), BATCH):
        views = []
        for image_id in ids[start : start + BATCH]:
            try:
                views.append(fit(images.decode(read(image_id))))
            except (OSError, EmbedshiftError) as error:
                raise UsageError(f"{image_id}: cannot be read again to be named ({cause(error)})") from error
        vectors.append(encode_views(encoder, np.stack(views)).embedding)
    return np.concatenate(vectors)
