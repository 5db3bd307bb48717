"""`embedshift.from_vectors`: a study of vectors that exist."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.api.progress import shown_progress
from embedshift.augmentations import ORIGINAL
from embedshift.config.files import output_path
from embedshift.engines import Progress
from embedshift.errors import UsageError
from embedshift.pipeline.vectors import vector_study
from embedshift.steps import run_study
from embedshift.store.groups import Choice as GroupChoice
from embedshift.study import Study


def from_vectors(
    originals: Any, variants: Mapping[str, Any] | None = None, *, out: str | Path,
    ids: Sequence[str] | str | Path | None = None, groups: GroupChoice | Sequence[object] | None = None,
    progress: Progress | bool | None = None, **settings: Any,
) -> Study:  # fmt: skip
    """Makes a study of vectors that exist: it reads no image and loads no encoder.

    Args:
        originals: Vectors `[N, D]`: an array of NumPy, torch, Polars or pandas, an npy file, or a frame or Parquet file
            with the columns `image_id` and `vector`, where a column `view` may tell originals and variants apart.
        variants: Name of a view → its vectors, in the same forms; arrays in the order of the originals.
        out: As in `run`.
        ids: The image of each row of the arrays, or a text file with one id a line; None = those of the originals, else
            their numbers.
        groups: As in `run`, or for an array of originals the group of each row.
        progress: As in `run`.
        **settings: Fields of `VectorsConfig`: `model` (a name), `images`, `views`, `store`, `seed`, `shard_size`.

    Returns:
        The finished study.

    Raises:
        UsageError: Vectors cannot be read, are missing, doubled or zero, or differ in length.

    Example:
        >>> import tempfile, numpy as np
        >>> vectors = np.random.default_rng(0).normal(size=(9, 4))
        >>> from_vectors(vectors, {"jpeg": vectors + 0.1}, out=tempfile.mkdtemp()).augmentations
        ['jpeg']
    """
    if not isinstance(variants, Mapping | None):
        raise UsageError(f"variants: give a mapping of name -> vectors, not {type(variants).__name__}")
    given, folder = [(ORIGINAL, originals), *(variants or {}).items()], output_path(out)
    study = vector_study(given, settings, folder, ids=ids, groups=groups)
    with shown_progress(progress) as (on_start, step):
        run_study(**study, out=folder, progress=step, on_start=on_start)
    return Study(folder)
