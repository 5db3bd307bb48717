"""The table `meaning`: for each direction the images furthest along it, properties and words, each with its null."""

import dataclasses
import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.errors import UsageError
from embedshift.questions.meaning import AUGMENTATIONS, FEATURES, GROUPS, MAP, Choices
from embedshift.questions.meaning.directions import (
    Vectors,
    ids_of,
    of_groups,
    of_map,
    of_shifts,
    pairs_of,
    read_vectors,
)
from embedshift.questions.meaning.evidence import NONE, digest, is_as_kept, numbers_of, words_of
from embedshift.questions.meaning.explained import why_nothing
from embedshift.statistics.meaning import (
    LEAST,
    Directions,
    Words,
    agreement_of,
    area_ends,
    areas_of,
    chosen_words,
    correlation_ends,
    counterfactuals,
    furthest,
    group_means,
    judged_scores,
    largest_by_chance,
    least_beyond,
    often_measured,
    random_scores,
    rank_correlations,
    removed_words,
)
from embedshift.store.reader import Reader
from embedshift.store.table import Table, table_path

log = logging.getLogger(__name__)

# Images of a strip.
IN_STRIP = 8
# Of what the kept table records.
VERSION = "1"
IMAGE, PROPERTY, WORD = "image", "property", "word"
NUMBERS = ("value", "low", "high", "null_high")
SCHEMA = pl.Schema(
    {"direction": str, "kind": str, "name": str}
    | dict.fromkeys(NUMBERS, float)
    | {"significant": bool, "agreement": float, "counterfactual": str}
)


class DirectionEvidence(NamedTuple):
    """A row of the table, without its direction."""

    kind: str
    name: str
    value: float
    low: float | None
    high: float | None
    null_high: float
    significant: bool
    counterfactual: str | None = None


class Null(NamedTuple):
    """What 95 % of as many random directions stay below: places of images; deviations of properties and of words."""

    image: float
    property: float
    word: float


@dataclass(frozen=True, eq=False)
class Sample:
    """What directions are judged on: images, or where they are in groups the means of these; and their half."""

    originals: Floats
    second: NDArray[np.bool_]
    names: tuple[str, ...]
    numbers: Values
    words: Words


def chosen(reader: Reader) -> Choices:
    """Returns what is to be explained; where nothing is given, what the kept table was made with."""
    given, kept = reader.choice(Choices), _kept(reader)
    # Words of captions and folders tell of images, which are then not shown.
    none = None if reader.pictures else ()
    if given.is_given or not kept:
        features = given.features or AUGMENTATIONS
        if features not in FEATURES:
            raise UsageError(f"`features` {features!r}: choose one of {', '.join(FEATURES)}")
        words = none if given.words is None else given.words
        return dataclasses.replace(given, features=features, words=words)
    files: dict[str, str | None] = {name: kept[f"{name}_file"] or None for name in ("properties", "words")}
    for name, file in files.items():
        if kept[name] != NONE and not is_as_kept(file, kept[name]):
            log.warning("%s: `%s` of its table `meaning` has changed or is gone; made without", reader.folder, name)
            files[name] = None
    between = [tuple(pair) for pair in json.loads(kept["between"])]
    words = files["words"] or none
    return Choices(features=kept["features"], between=between, properties=files["properties"], words=words)


def meaning(reader: Reader) -> pl.DataFrame:
    is_enough, choices = reader.info.group_count >= LEAST, chosen(reader)
    if not is_enough and (ids := reader.ordered_ids()):  # so that a wrong file is refused all the same
        numbers_of(reader, choices.properties, ids)
        words_of(reader, choices.words, ids)
    table = _made(reader) if is_enough else pl.DataFrame(schema=SCHEMA)
    if table.is_empty():
        log.warning("%s", why_nothing(reader, str(choices.features)))
    return table


def _made(reader: Reader) -> pl.DataFrame:
    choices = chosen(reader)
    vectors = read_vectors(reader, with_products=choices.features == MAP)
    directions = directions_of(reader, vectors, choices)
    if not directions.names:
        return pl.DataFrame(schema=SCHEMA)
    ids, fitted = ids_of(reader, len(vectors.originals)), directions.vectors
    sample = sample_of(reader, vectors, choices, ids)
    scores = judged_scores(sample.originals, fitted, sample.second)
    null = null_of(vectors, sample, len(directions.names), seed=reader.info.seed)
    found = [
        *of_images(vectors, fitted, ids, null),
        *of_properties(scores, sample, null),
        *of_words(fitted, scores, sample, null),
    ]
    agreement = agreement_of(vectors.originals, fitted if directions.agreeing is None else directions.agreeing)
    rows = [
        (directions.names[place], *row[:-1], float(agreement[place]), row.counterfactual)
        for place, row in sorted(found, key=lambda each: each[0])
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None)


def sample_of(reader: Reader, vectors: Vectors, choices: Choices, ids: list[str]) -> Sample:
    groups = reader.first_groups(len(ids))
    originals, second = vectors.originals, vectors.second
    names, numbers = numbers_of(reader, choices.properties, ids)
    words = words_of(reader, choices.words, ids)
    if groups is not None:
        originals = group_means(originals, groups).astype(np.float32)
        second = group_means(second[:, None], groups)[:, 0] > 0
        numbers, words = group_means(numbers, groups), words.of_groups(groups)
    kept, words = often_measured(numbers, second), words.within(second)
    if words.names:
        log.info("%d words have enough images in each half", len(words.names))
    return Sample(originals, second, tuple(names[column] for column in kept), numbers[:, kept], words)


def directions_of(reader: Reader, vectors: Vectors, choices: Choices) -> Directions:
    if choices.features == GROUPS:
        return of_groups(vectors)
    if choices.features == MAP:
        return of_map(vectors)
    return of_shifts(reader, vectors, pairs_of(choices))


def null_of(vectors: Vectors, sample: Sample, directions: int, *, seed: int) -> Null:
    largest: list[tuple[Values, Values, Values]] = []
    is_grouped = len(sample.originals) < len(vectors.originals)
    given = (vectors.spaces, directions, seed)
    of_images_too = random_scores(vectors.originals, vectors.second, *given) if is_grouped else None
    for scores in random_scores(sample.originals, sample.second, *given):
        images = scores if of_images_too is None else next(of_images_too)
        found = deviations_of(*rank_correlations(scores, sample.numbers, sample.second))
        named = np.zeros(scores.shape[1])
        if sample.words.names:
            named = largest_by_chance(scores, sample.words, sample.second)
        largest.append((images.max(axis=0), np.abs(found).max(axis=1, initial=0.0), named))
    return Null(*(least_beyond(np.concatenate(part), directions) for part in zip(*largest, strict=True)))


def deviations_of(correlations: Values, weights: Values) -> Values:
    """Returns correlations in their standard deviations where there is none, `[F, K]`."""
    return np.asarray(np.arctanh(correlations) * np.sqrt(weights))


def of_images(vectors: Vectors, fitted: Values, ids: list[str], null: Null) -> Iterator[tuple[int, DirectionEvidence]]:
    """Yields the images furthest along each direction, each with the lowest of those that are nearest otherwise."""
    for place, along in enumerate(judged_scores(vectors.originals, fitted, vectors.second).T):
        high = furthest(along, IN_STRIP)
        lowest = counterfactuals(vectors.originals, fitted[:, place].mean(axis=0), along, high)
        for image, low in zip(high, lowest, strict=True):
            value = float(along[image])
            yield (
                place,
                DirectionEvidence(IMAGE, ids[image], value, None, None, null.image, value > null.image, ids[low]),
            )


def of_properties(scores: Floats, sample: Sample, null: Null) -> Iterator[tuple[int, DirectionEvidence]]:
    correlations, weights = rank_correlations(scores, sample.numbers, sample.second)
    limits = np.tanh(null.property / np.sqrt(weights))
    low, high = correlation_ends(correlations, weights + 3)
    for place, column in itertools.product(range(len(correlations)), range(len(sample.names))):
        value, *ends = (float(part[place, column]) for part in (correlations, low, high))
        limit = float(limits[column])
        clear = abs(value) > limit and (ends[0] > 0 or ends[1] < 0)
        yield place, DirectionEvidence(PROPERTY, sample.names[column], value, ends[0], ends[1], limit, clear)


def of_words(fitted: Values, scores: Floats, sample: Sample, null: Null) -> Iterator[tuple[int, DirectionEvidence]]:
    """Yields the words that the first half chose, without those of counterfactuals, as judged on the second."""
    words = sample.words
    if not words.names:
        return
    first, second = np.flatnonzero(~sample.second), np.flatnonzero(sample.second)
    # A half is judged by what was fitted to the other.
    shared = removed_words(sample.originals, fitted[1], scores, words, first)
    picked, judged = chosen_words(areas_of(scores, words, first), shared), areas_of(scores, words, second)
    for place, own in enumerate(picked):
        for word in own[np.argsort(-judged.deviations[place, own], kind="stable")]:
            area, having = float(judged.areas[place, word]), int(judged.having[word])
            low, high = area_ends(area, having, judged.count - having)
            limit = min(1.0, 0.5 + null.word * float(judged.by_chance[word]))
            yield place, DirectionEvidence(WORD, words.names[word], area, low, high, limit, area > limit and low > 0.5)


def _kept(reader: Reader) -> Mapping[str, str]:
    kept = reader.kept_settings("meaning")
    return kept if kept.get("version") == VERSION else {}


def _settings(reader: Reader) -> dict[str, str]:
    groups, kept = reader.info.groups_digest, _kept(reader)
    is_same = kept and kept["groups"] == groups and kept["pictures"] in ("", str(reader.pictures))
    if is_same and not reader.choice(Choices).is_given:
        return dict(kept)
    choices = chosen(reader)
    given = {"properties": choices.properties, "words": choices.words}
    paths = {name: each if isinstance(each, str | os.PathLike) else None for name, each in given.items()}
    return {
        "version": VERSION,
        "groups": groups,
        "features": str(choices.features),
        "between": json.dumps(pairs_of(choices)),
        # Words of captions and folders depend on it.
        "pictures": "" if choices.words else str(reader.pictures),
        **{f"{name}_file": "" if path is None else str(Path(path).absolute()) for name, path in paths.items()},
        **{name: digest(each) for name, each in given.items()},
    }


def _is_available(reader: Reader) -> bool:
    choices = reader.choice(Choices)
    is_asked = choices.measured or choices.is_given or table_path(reader.folder, "meaning").is_file()
    return is_asked and reader.info.has_vectors and bool(reader.augmentations)


TABLES = (
    Table(
        "meaning",
        meaning,
        is_available=_is_available,
        requires="views and stored embeddings",
        settings=_settings,
        names=("name", "counterfactual"),
        doc="What directions stand for: images furthest along, properties and words, each beside random directions.",
        choices=Choices(measured=True),
    ),
)
