"""A study's best scores without a match: parts, vectors and the choice of the score."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.questions.threshold.numbers import Parts, best_scores, chosen_score, own_scores, scores_of
from embedshift.questions.threshold.settings import asked_of, settings_of
from embedshift.statistics.duplicates import SURE, joined
from embedshift.statistics.index import SearchIndex
from embedshift.statistics.retrieval import Gallery, Positions
from embedshift.statistics.sample import group_numbers
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.alike import alike
from embedshift.store.gallery import originals
from embedshift.store.grouping import near_copies
from embedshift.store.reader import Reader


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of queries of a study, by the score of `scores` and by change.

    Args:
        scores: The scores to choose from.
        chosen: The one that the choosing part prefers.
        best: Best scores of queries without a match, `[S, m, A]`.
        drawn: The change of the query of each group, `[m]`.
        own: Scores of queries with their own original, `[S, j, A]`.
        others: Best scores of the same queries with other images, `[S, j, A]`.
        gallery: Number of images in the gallery.
        near_copies: How many of them are near-copies of images that calibrate, and are left out as their matches.
    """

    scores: list[SearchIndex]
    chosen: int
    best: Values
    drawn: Positions
    own: Values
    others: Values
    gallery: int
    near_copies: int

    def mixed(self, score: int) -> Values:
        """Returns the best score of the query of each group, `[m]`, ascending."""
        return np.sort(self.best[score, np.arange(len(self.drawn)), self.drawn])


@dataclass(frozen=True)
class _Source:
    """What decides the scores of a study, so that each reader of it has the same."""

    listing: object
    index: object
    settings: tuple[tuple[str, str], ...]
    reader: Reader = field(compare=False)


def calibrated(reader: Reader) -> Calibration:
    """Returns the scores of a study."""
    return _calibrated(_Source(reader.listing, reader.index, tuple(settings_of(reader).items()), reader))


@functools.lru_cache(maxsize=1)
def _calibrated(source_of: _Source) -> Calibration:
    reader = source_of.reader
    asked, seed = asked_of(reader), reader.info.seed
    groups = group_numbers(reader.groups, reader.image_rows.layout.images)
    source, parts = originals(reader, asked.gallery), Parts.of(groups, seed)
    labels = _with_near_copies(groups, near_copies(reader), source.ids[: source.images].to_list())
    more = len(source.ids) - source.images
    if more:  # a near-copy of an image is a match of it
        pairs = alike(reader, source, is_between=True, expected_false=SURE)
        labels = np.concatenate([labels, labels.max() + 1 + np.arange(more)])
        labels = np.asarray(joined(labels, [(pairs.first, pairs.second)]), np.int64)
    searched = np.concatenate([parts.searched, np.ones(more, np.bool_)])
    gallery = Gallery(source.gallery.vectors, np.where(searched, source.gallery.lengths, 0.0), labels)
    images = np.concatenate([parts.calibration, parts.choosing, parts.judged])
    views = _views(reader, images, np.random.default_rng([seed, 1]))
    count, changes, dim = views.shape
    unit = normalised_float32(np.nan_to_num(source.gallery.vectors[parts.background]))
    scores = scores_of(dim, unit[unit.any(axis=1)])
    queries = views.reshape(-1, dim)
    best = best_scores(queries, np.repeat(labels[images], changes), gallery, scores)
    unit = normalised_float32(np.nan_to_num(source.gallery.vectors[images]))
    own = own_scores(queries, np.repeat(unit, changes, axis=0), scores)
    best, own = (array.reshape(len(scores), count, changes) for array in (best, own))
    calibration, choosing, judged = np.split(np.arange(count), np.cumsum([len(parts.calibration), len(parts.choosing)]))
    return Calibration(
        scores,
        chosen_score(own[:, choosing], best[:, choosing], asked.wrong, seed),
        best[:, calibration],
        np.random.default_rng([seed, 2]).integers(changes, size=len(calibration)),
        own[:, judged],
        best[:, judged],
        int((gallery.lengths > 0).sum()),
        int(np.isin(labels[searched], labels[parts.calibration]).sum()),
    )


def _with_near_copies(groups: GroupNumbers, label: Mapping[str, int], ids: list[str]) -> Positions:
    """Returns a number for each image, the same for images of a group and for near-copies."""
    places = np.array([place for place, name in enumerate(ids) if name in label], np.int64)
    sets = np.array([label[ids[place]] for place in places], np.int64)
    first, own = np.unique(sets, return_index=True, return_inverse=True)[1:]
    return np.asarray(joined(groups, [(places[first][own], places)]), np.int64)


def _views(reader: Reader, images: Positions, rng: np.random.Generator) -> Floats:
    """Returns unit vectors of a view of each image by every change, `[k, A, D]`, of a draw each; 0 where missing."""
    order = reader.image_rows.layout
    positions = np.array([order.positions(name) for name in reader.augmentations])
    draws = rng.integers(positions.shape[1], size=len(images))
    views, start = np.zeros((len(images), len(positions), reader.dim), np.float32), 0
    for block in reader.image_rows.vectors():
        here = np.flatnonzero((images >= start) & (images < start + len(block)))
        views[here] = block[(images[here] - start)[:, None], positions.T[draws[here]]]
        start += len(block)
    return normalised_float32(np.nan_to_num(views))
