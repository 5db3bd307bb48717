"""Chooses the groups of a study's images, finds near-duplicates, and counts exact copies."""

import dataclasses
import functools
import logging
from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Floats, GroupNumbers, mapped
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.statistics.duplicates import components, fit_tail, mean_cosine, near_cosine, unit_float32
from embedshift.statistics.search_index import LEAST_PAIRED, near_pairs
from embedshift.statistics.whitening import shift_map
from embedshift.store.gallery import originals
from embedshift.store.groups import FILE, FOLDER, NEAR, NONE, Choice, Groups, find_groups, read_groups
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)

# Maximum pairs of different images that may be joined.
EXPECTED_FALSE = 0.01
# Columns of a table of pairs that hold names of images.
NAMES = ("image_id", "other")
# Images from which on near-copies are those of the table of pairs; of fewer all pairs are compared again.
LISTED_FROM = 2_001
# Independent images, whatever groups the folder holds.
INDEPENDENT = Groups(NONE, (), ())


def choose(reader: Reader, choice: Choice | None, ids: Sequence[str] | None = None) -> Groups | None:
    all_ids, stored = ids is not None, reader.info.groups
    if choice == NONE or (choice is None and stored is None):
        return None
    ids = reader.ordered_ids() if ids is None else ids
    if choice is None and stored is not None and stored.chosen not in (FOLDER, NEAR):
        before = dict(read_groups(reader.folder, reader.info.files.get(FILE, "")).iter_rows())
        return Groups(stored.chosen, ids, [before.get(image_id) for image_id in ids])
    wanted = choice if choice is not None else stored.chosen if stored is not None else NONE
    if all_ids and wanted == NEAR:
        raise UsageError(f"`until` cannot be combined with `groups` {NEAR}, which compares all images; choose others")
    return find_groups(wanted, ids, lambda: [str(number) for number in near_groups(reader)])


def near_groups(reader: Reader) -> GroupNumbers:
    if not reader.info.has_vectors:
        raise UsageError(f"{reader.folder}: `groups` {NEAR} needs stored embeddings: run it with `store` all")
    vectors = originals(dataclasses.replace(reader, grouped=INDEPENDENT)).gallery.vectors
    views, cosine = reader.rows().filter(pl.col("view") != ORIGINAL), pl.col("cosine_similarity").fill_nan(None)
    medians = views.group_by("view").agg(cosine.median()).collect().to_series(1) if reader.augmentations else ()
    groups = _connected(reader, vectors, near_cosine(medians, mean_cosine(vectors)), None)
    # Distant copies are distinguished from other images if shifts have less weight.
    if (whitening := shift_map(reader.image_rows)) is not None:
        space = mapped(vectors, whitening, reader.folder, step=LEAST_PAIRED)
        tail = fit_tail(space, groups, seed=reader.info.seed)
        groups = groups if tail is None else _connected(reader, space, tail.threshold(EXPECTED_FALSE), groups)
    return groups


@functools.lru_cache(maxsize=1)
def near_copies(reader: Reader) -> dict[str, int]:
    """Returns the images that have near-copies, each with the number of its set, from `groups` near or the pairs."""
    if reader.image_rows.layout.images >= LISTED_FROM:
        pairs = reader.need("duplicates")
        return dict(pl.concat([pairs.select(pl.col(end).alias("id"), "group") for end in NAMES]).iter_rows())
    groups = near_groups(reader)
    has_copies = np.bincount(groups)[groups] > 1
    return {
        image_id: int(group)
        for image_id, group, has in zip(reader.ordered_ids(), groups, has_copies, strict=True)
        if has
    }


def _connected(reader: Reader, vectors: Floats, least: float, groups: GroupNumbers | None) -> GroupNumbers:
    directions = mapped(vectors, unit_float32, reader.folder)
    near = near_pairs(directions, least)
    if near is None and len(directions) >= LEAST_PAIRED:
        words = (
            "`groups` %s compares all pairs of %s images, which takes long; the extra 'search' installs FAISS for that"
        )
        log.info(words, NEAR, f"{len(directions):,}")
    return components(directions, least, groups, near)


def are_stored(reader: Reader, groups: Groups | None) -> bool:
    return (None if groups is None else groups.record) == reader.info.groups


def regrouped(reader: Reader, choice: Choice | None) -> Reader | None:
    """Returns a reader with other groups, recorded when its tables are written; None if the study has these already."""
    if choice is None:
        return None
    reader.refuse_unfinished()
    if not reader.info.has_vectors:
        raise UsageError(f"{reader.folder}: run with `store` metrics, which takes `groups` only when it is run")
    groups = choose(reader, choice)
    return None if are_stored(reader, groups) else dataclasses.replace(reader, grouped=groups or INDEPENDENT)


def copies(reader: Reader) -> int:
    """Returns the number of images that repeat the pixels of an image of another group."""
    originals = reader.rows().filter(view=ORIGINAL)
    # Eight bytes of a hash of 32 characters; two of a million images collide with probability 3e-8.
    pixels = originals.select(pl.col("pixels").hash(seed=0), is_known=pl.col("pixels").is_not_null()).collect()
    if reader.groups is not None:
        pixels = pixels.with_columns(group=reader.groups).unique()
    known = pixels.filter("is_known")
    return len(known) - known["pixels"].n_unique()


def copies_line(count: int) -> str:
    images = "1 image repeats" if count == 1 else f"{count:,} images repeat"
    return f"{images} the pixels of another; intervals treat all of them as independent images and are too narrow"
