"""The vectors of two encoders for the same views of the same images: of two studies, or of tables of vectors."""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedshift.errors import UsageError
from embedshift.questions.upgrade.maps import Both
from embedshift.sources.stores import address_of
from embedshift.sources.vectors import VectorGrid, VectorSet
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import MOST_DIM
from embedshift.store.embeddings import grid_of
from embedshift.store.gallery import Directions, originals
from embedshift.store.groups import NONE, Choice
from embedshift.study.paired.studies import PairedStudies, pair_studies
from embedshift.study.study import Study, load

log = logging.getLogger(__name__)
# Numbers of the vectors that are read: 1 GiB; and the least images, or groups, that are judged.
NUMBERS, LEAST = 2**28, 8
# The longest vectors, and one over the shortest, whose products float32 holds.
MOST_LENGTH = 1e12


def opened(place: Study | str | Path, columns: Mapping[str, str] | None = None) -> Study | VectorGrid:
    """Opens a study, or the whole images of a Parquet file of vectors, or of a table in a store."""
    if isinstance(place, Study) or not (address_of(place) or Path(place).suffix.lower() == ".parquet"):
        return place if isinstance(place, Study) else load(place)
    vectors = VectorSet.open(str(place), columns=columns or {})
    return vectors.grid(vectors.keys["tile"].to_numpy() == 0)


def of_pair(paired: PairedStudies) -> Both:
    """Returns the vectors of a study and of its reference, whose images, views and groups are known to be the same."""
    first, second = (grid_of(study.reader()) for study in paired.studies[:2])
    return _joined(first, second, drawn(paired.ids, paired.seed), paired.reference.family_of)


def drawn(ids: Sequence[str], seed: int) -> Sequence[str]:
    """Returns all ids in an order drawn by the seed, since only the first of a fold are judged."""
    return random.Random(seed).sample(sorted(ids), len(ids))


def both_of(old: Study | VectorGrid, new: Study | VectorGrid, seed: int, groups: Choice | None = None) -> Both:
    """Returns the vectors of both, in an order drawn by the seed, refusing other images, or other changes.

    Raises:
        UsageError: Images or changes differ, vectors are missing or all the same, or there are fewer than 8 images.
    """
    if isinstance(old, Study) and isinstance(new, Study):
        for study in (old, new):
            study.reader().refuse_without_vectors()
        return of_pair(pair_studies([old, new], groups))
    if groups not in (None, NONE):
        raise UsageError("`groups` are of two studies; tables of vectors have the column group")
    first, second = (grid_of(side.reader()) if isinstance(side, Study) else side for side in (old, new))
    one, other = first.vectors.name, second.vectors.name
    for word, own, others in (
        ("images", first.ids, second.ids),
        ("changes", first.views, second.views),
        ("draws", [*map(str, range(first.draws))], [*map(str, range(second.draws))]),
    ):
        if only := sorted({*own} ^ {*others}):
            where = f"only in {one if only[0] in {*own} else other}"
            raise UsageError(f"{other} has other {word} than {one}: {only[0]!r} is {where}")
    return _joined(first, second, drawn(first.ids, seed), {}, is_grouped=groups is None)


def gallery_of(old: Study | VectorGrid, both: Both, path: str) -> np.ndarray:
    """Returns unit vectors of other images by the old encoder, without those that are judged.

    Raises:
        UsageError: There are no such vectors, or they have another length.
    """
    if isinstance(old, Study):
        found = originals(old.reader(), path)
        return normalised_float32(np.asarray(found.gallery.vectors[found.images :]))
    vectors = np.concatenate([*VectorSet.open(path, named=False).blocks(zeros=False, infinite=False)])
    if vectors.shape[1] != (dim := both.old.shape[2]):
        raise UsageError(
            f"`gallery`: {path}: its vectors have {vectors.shape[1]} numbers, those of the old index {dim}"
        )
    is_own = Directions.of([both.old[:, 0]], dim).have(vectors)
    if is_own.any():
        log.info("%d images of the gallery are also judged; skipping them in the gallery", int(is_own.sum()))
    return normalised_float32(vectors[~is_own])


def _joined(
    first: VectorGrid, second: VectorGrid, ids: Sequence[str], families: Mapping[str, str], *, is_grouped: bool = True
) -> Both:
    if not first.views:
        raise UsageError(f"{first.vectors.name}: has no views of changes, by which an upgrade is judged")
    if (dim := max(first.dim, second.dim)) > MOST_DIM:
        raise UsageError(f"maps are fitted to vectors of at most {MOST_DIM:,} numbers, these have {dim:,}")
    if (most := max(1, NUMBERS // first.rows[0].size // dim)) < len(ids):
        log.warning("%d of %d images are used: the vectors of more would not fit into 1 GiB", most, len(ids))
        ids = ids[:most]
    groups = _groups(first, second, ids) if is_grouped else {}
    numbers = np.unique([groups.get(image_id, f"image {image_id}") for image_id in ids], return_inverse=True)[1]
    families = {name: families.get(name, name) for name in first.views}
    old, new = (side.with_views(first.views).read(side.places(ids)) for side in (first, second))
    both = Both(old, new, [*first.views] * first.draws, families, _in_order(numbers), bool(groups))
    kept = both.there[:, 0]
    if not kept.all():
        log.warning("%d of %d images have no vector of their original; they are left out", (~kept).sum(), len(kept))
        both = replace(both, old=old[kept], new=new[kept], groups=_in_order(both.groups[kept]))
    _check(both, [side.vectors.name for side in (first, second)])
    return both


def _groups(first: VectorGrid, second: VectorGrid, ids: Sequence[str]) -> Mapping[str, str]:
    """Returns the groups that one side has, or both; refuses two that differ."""
    one, other = first.texts("group"), second.texts("group")
    if one and other:
        pairs = {(one.get(image_id), other.get(image_id)) for image_id in ids}
        if any(len({pair[side] for pair in pairs}) < len(pairs) for side in (0, 1)):
            words = "give both the same, or one of them"
            raise UsageError(f"{second.vectors.name} has other groups than {first.vectors.name}; {words}")
    return one or other


def _in_order(groups: np.ndarray) -> np.ndarray:
    """Numbers groups as they come."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse])


def _check(both: Both, names: Sequence[str]) -> None:
    count = len(np.unique(both.groups))
    if count < LEAST:
        unit = "groups of images" if both.is_grouped else "images"
        raise UsageError(f"{names[1]}: an upgrade needs {LEAST} {unit} with vectors of both encoders, and has {count}")
    for change in dict.fromkeys(both.names):
        if (images := int(both.there[:, both.columns([change])].any(axis=1).sum())) < LEAST:
            words = f"has vectors of both encoders for {images} images; give {LEAST} or more, or leave it out"
            raise UsageError(f"{names[1]}: the change {change!r} {words}")
    for side, name in zip((both.old, both.new), names, strict=True):
        if not np.ptp(side[:, 0], axis=0).any():
            raise UsageError(f"{name}: all images have the same vector: there is nothing to map")
        length = float(np.median(np.linalg.norm(side[both.there[:, 0], 0].astype(np.float64), axis=1)))
        if not 1 / MOST_LENGTH < length < MOST_LENGTH:
            raise UsageError(f"{name}: its vectors have a length of {length:.1g}; scale them to about 1")
