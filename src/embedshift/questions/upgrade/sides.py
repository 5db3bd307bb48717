"""The vectors of two encoders for the same views of the same images: of two studies, or of tables of vectors."""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.questions.upgrade.maps import Both
from embedshift.sources.vectors import open_part
from embedshift.statistics.whitening import MOST_DIM
from embedshift.store.groups import NONE, Choice
from embedshift.study.paired.studies import PairedStudies, pair_studies
from embedshift.study.study import Study, load

log = logging.getLogger(__name__)
# Numbers of the vectors that are read: 1 GiB; and the least images, or groups, that are judged.
NUMBERS, LEAST = 2**28, 8
# The longest vectors, and one over the shortest, whose products float32 holds.
MOST_LENGTH = 1e12


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors of images `[n, V, D]`, the original first, then draw by draw all augmentations; missing ones are NaN."""

    name: str
    ids: Sequence[str]
    augmentations: Sequence[str]
    draws: int
    vectors: Floats
    groups: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        return [*self.augmentations] * self.draws


def opened(place: Study | str | Path) -> Study | Vectors:
    """Opens a study, or the Parquet file of a table of vectors."""
    if isinstance(place, Study) or Path(place).suffix.lower() != ".parquet":
        return place if isinstance(place, Study) else load(place)
    return _of_table(str(place))


def _of_table(name: str) -> Vectors:
    part = open_part(name, ORIGINAL)
    # Only whole images are judged.
    keys = pl.DataFrame(pl.from_arrow(part.keys)).with_row_index("row").filter(tile=0)
    if keys.is_empty() or keys.select("image_id", "view").null_count().sum_horizontal().item():
        raise UsageError(f"{name}: has no rows, or rows without image_id or view")
    if twice := keys.filter(keys.select("image_id", "view", "draw").is_duplicated())["image_id"].head(1).to_list():
        raise UsageError(f"{name}: image {twice[0]!r} has two vectors of one view")
    originals = keys.filter(view=ORIGINAL).sort("image_id")
    if twice := originals.filter(originals["image_id"].is_duplicated())["image_id"].head(1).to_list():
        raise UsageError(f"{name}: image {twice[0]!r} has two originals; give one, whatever the number of draws")
    _check_draws(name, keys)
    ids, names = originals["image_id"], [view for view in keys["view"].unique(maintain_order=True) if view != ORIGINAL]
    if stray := keys.filter(~pl.col("image_id").is_in(ids.implode()))["image_id"].head(1).to_list():
        raise UsageError(f"{name}: image {stray[0]!r} has no row of view {ORIGINAL!r}")
    matrices = [*part.floats()]
    if len({matrix.shape[1] for matrix in matrices}) > 1:
        raise UsageError(f"{name}: its vectors have different lengths")
    draws = int(str(keys["draw"].max())) + 1
    vectors = np.full((len(ids), 1 + draws * len(names), matrices[0].shape[1]), np.nan, np.float32)
    order = {image_id: place for place, image_id in enumerate(ids)}
    images = keys["image_id"].replace_strict(order).to_numpy()
    column = {view: place for place, view in enumerate(names)}
    views = keys["view"].replace_strict(column, default=-1).to_numpy()
    columns = np.where(views < 0, 0, 1 + keys["draw"].to_numpy() * len(names) + views)
    vectors[images, columns] = np.concatenate(matrices)[keys["row"].to_numpy()]
    groups = dict(originals.drop_nulls("group").select("image_id", "group").iter_rows())
    return Vectors(name, ids.to_list(), names, draws, vectors, groups)


def _check_draws(name: str, keys: pl.DataFrame) -> None:
    """Refuses draws that are not numbered from 0, such as seeds, each of which would be a column of its own."""
    known = keys["draw"].unique().sort().to_list()
    if wrong := [draw for place, draw in enumerate(known) if draw != place]:
        raise UsageError(f"{name}: has a draw {wrong[0]}; number the draws of a change from 0, without gaps")


def _of_study(study: Study, ids: Sequence[str] | None = None) -> Vectors:
    reader = study.reader()
    reader.refuse_without_vectors()
    order, dim = reader.image_rows.layout, reader.info.encoder.dim
    places = [order.positions(name) for name in reader.augmentations]
    columns = [order.views.index(ORIGINAL), *(place[draw] for draw in range(reader.info.draws) for place in places)]
    own = {} if reader.groups is None else dict(zip(reader.ordered_ids(), map(str, reader.groups), strict=True))
    rows = reader.image_rows.frame.select("image_id", "embedding")
    frame = (rows if ids is None else rows.filter(pl.col("image_id").is_in(list(ids)))).collect()
    vectors = frame["embedding"].to_numpy().reshape(-1, len(order.views), dim)[:, columns]
    names = frame["image_id"].gather_every(len(order.views)).to_list()
    return Vectors(str(reader.folder), names, reader.augmentations, reader.info.draws, vectors, own)


def of_pair(paired: PairedStudies) -> Both:
    """Returns the vectors of a study and of its reference, whose images, views and groups are known to be the same."""
    dims, ids = [reader.info.encoder.dim for reader in paired.readers[:2]], drawn(paired.ids, paired.seed)
    ids = _that_fit(ids, max(dims) * len(paired.reference.image_rows.layout.views))
    return _joined([_of_study(study, ids) for study in paired.studies[:2]], ids, paired.reference.family_of)


def drawn(ids: Sequence[str], seed: int) -> Sequence[str]:
    """Returns all ids in an order drawn by the seed, since only the first of a fold are judged."""
    return random.Random(seed).sample(sorted(ids), len(ids))


def _that_fit(ids: Sequence[str], numbers: int) -> Sequence[str]:
    if (most := max(1, NUMBERS // max(1, numbers))) < len(ids):
        log.warning("%d of %d images are used: the vectors of more would not fit into 1 GiB", most, len(ids))
    return ids[:most]


def both_of(old: Study | Vectors, new: Study | Vectors, seed: int, groups: Choice | None = None) -> Both:
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
    sides = [_of_study(side) if isinstance(side, Study) else side for side in (old, new)]
    first, second = sides
    for word, one, other in (
        ("images", first.ids, second.ids),
        ("changes", first.augmentations, second.augmentations),
        ("draws", [*map(str, range(first.draws))], [*map(str, range(second.draws))]),
    ):
        if only := sorted({*one} ^ {*other}):
            where = f"only in {first.name if only[0] in {*one} else second.name}"
            raise UsageError(f"{second.name} has other {word} than {first.name}: {only[0]!r} is {where}")
    return _joined(sides, drawn(first.ids, seed), {}, is_grouped=groups is None)


def _joined(
    sides: Sequence[Vectors], ids: Sequence[str], families: Mapping[str, str], *, is_grouped: bool = True
) -> Both:
    first, second = sides
    order = [first.augmentations.index(name) for name in second.augmentations]
    if not first.augmentations:
        raise UsageError(f"{first.name}: has no views of changes, by which an upgrade is judged")
    dim, views = max(side.vectors.shape[2] for side in sides), first.vectors.shape[1]
    if dim > MOST_DIM:
        raise UsageError(f"maps are fitted to vectors of at most {MOST_DIM:,} numbers, these have {dim:,}")
    ids = _that_fit(ids, dim * views)
    arrays = []
    for side in sides:
        place = {image_id: position for position, image_id in enumerate(side.ids)}
        arrays.append(side.vectors[[place[image_id] for image_id in ids]])
    if order != sorted(order):  # the new table has its changes in another order
        count = len(order)
        columns = [0, *(1 + draw * count + order.index(place) for draw in range(first.draws) for place in range(count))]
        arrays[1] = arrays[1][:, columns]
    groups = _groups(first, second, ids) if is_grouped else {}
    numbers = np.unique([groups.get(image_id, f"image {image_id}") for image_id in ids], return_inverse=True)[1]
    names = {name: families.get(name, name) for name in first.augmentations}
    both = Both(arrays[0], arrays[1], first.names, names, _in_order(numbers), bool(groups))
    kept = both.there[:, 0]
    if not kept.all():
        log.warning("%d of %d images have no vector of their original; they are left out", (~kept).sum(), len(kept))
        both = Both(both.old[kept], both.new[kept], both.names, names, _in_order(both.groups[kept]), both.is_grouped)
    _check(both, [side.name for side in sides])
    return both


def _groups(first: Vectors, second: Vectors, ids: Sequence[str]) -> Mapping[str, str]:
    """Returns the groups that one side has, or both; refuses two that differ."""
    if first.groups and second.groups:
        pairs = {(first.groups.get(image_id), second.groups.get(image_id)) for image_id in ids}
        if any(len({pair[side] for pair in pairs}) < len(pairs) for side in (0, 1)):
            raise UsageError(f"{second.name} has other groups than {first.name}; give both the same, or one of them")
    return first.groups or second.groups


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
