"""The tables of the search: ranks, recall, thresholds, duplicates, larger galleries, and misses by near-copies."""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.questions.search import Choices, copies, matching
from embedshift.questions.search.ranks import SearchResults, gallery_sizes, search_views
from embedshift.questions.search.settings import QUERIES, Settings, settings
from embedshift.report.next_steps import DUPLICATES, NEAR_COPIES, Step
from embedshift.statistics.duplicates import FIRST, MOST_IN_SETS, images_in, sets_of
from embedshift.statistics.paired import found_first, ranks_by_view
from embedshift.statistics.retrieval import TIE
from embedshift.statistics.sample import IN_MEMORY
from embedshift.statistics.search_index import LEAST_PAIRED, search_function
from embedshift.statistics.summary import DIFFERENCES_SCHEMA
from embedshift.statistics.thresholds import MATCHED, RATE, ScoredPairs, all_pairs, least_false_match_rate
from embedshift.statistics.thresholds import thresholds as thresholds_of
from embedshift.statistics.vectors import normalised
from embedshift.store.alike import alike
from embedshift.store.gallery import originals
from embedshift.store.grouping import NAMES, near_copies
from embedshift.store.reader import Reader
from embedshift.store.table import Rules, Table

SCHEMA = pl.Schema(
    {"image_id": str, "other": str, "cosine": float, "whitened": float, "group": int, "expected_false": float}
)
log = logging.getLogger(__name__)


def duplicates(reader: Reader) -> pl.DataFrame:
    """Returns the pairs, nearest first, by a tail of pairs between groups; `group` numbers sets that they connect."""
    chosen = settings(reader)
    study = originals(reader)
    most = None
    if chosen.compared == FIRST:
        most, images = LEAST_PAIRED - 1, np.count_nonzero(study.gallery.has_direction)
        words = f"near-copies are looked for among the first {most:,} of {images:,} images alone"
        log.warning("%s; for all install FAISS, the extra 'search', and search again", words)
    found = alike(reader, study, most=most, **chosen.from_where(reader))
    sets, in_large_set = sets_of((found.first, found.second), study.images)
    if chosen.threshold is None and in_large_set.sum() > MOST_IN_SETS * max(1.0, chosen.expected_false):
        log.warning(
            "%d of %d pairs are in sets of three images or more: copies, or a class of similar images. Within a class "
            "`expected_false` does not hold: look at these pairs",
            in_large_set.sum(),
            len(found.first),
        )
    table = pl.DataFrame(
        {
            "one": study.ids.gather(found.first),
            "two": study.ids.gather(found.second),
            "cosine": found.cosine,
            "whitened": found.whitened,
            "group": sets,
            "expected_false": found.expected,
            "decisive": found.decisive,
        }
    )
    ends = {"image_id": pl.min_horizontal("one", "two"), "other": pl.max_horizontal("one", "two")}
    ordered = table.with_columns(**ends).sort("decisive", "image_id", "other", descending=[True, False, False])
    numbered = ordered.with_row_index().with_columns(group=pl.col("index").min().over("group").rank("dense"))
    return numbered.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


# What a study must have for these tables, as text.
REQUIRES = "stored embeddings: run it with `store` all"
# Images whose pairs are all made, and the number if a rate needs more.
PAIRED, MOST_PAIRED = QUERIES, IN_MEMORY
# Tables that need no views.
OF_ORIGINALS = ("thresholds", "duplicates")
KEY = ("image_id", "view", "draw")


@functools.lru_cache(maxsize=1)
def search_results(reader: Reader) -> SearchResults:
    chosen = settings(reader)
    if chosen.gallery_is_lost:
        log.warning("the search is repeated without the previous gallery; to keep it, give it as `gallery`")
    path = str(reader.choice(Choices).gallery or "")
    vectors, queries = originals(reader, path), chosen.queries
    views = min(queries or vectors.images, vectors.images) * (1 + len(reader.augmentations) * reader.info.draws)
    function = search_function(vectors.gallery, views=views, memory=reader.choice(Choices).memory)
    return search_views(reader, vectors, queries, function)


def search(reader: Reader) -> pl.DataFrame:
    parts = reader.need("search_ranks").partition_by("view", as_dict=True, maintain_order=True)
    seed, groups, count = reader.info.seed, reader.groups, _compared(reader)
    by_name = {name: matching.recall_metrics(parts[name,], seed=seed, groups=groups) for name in reader.augmentations}
    numbers = [(name, metric, *ends) for name, metrics in by_name.items() for metric, ends in metrics.items()]
    by_ranks = pl.DataFrame(numbers, schema=matching.SCHEMA, orient="row").fill_nan(None)
    rows = pl.concat([by_ranks, matching.auc(cosines(reader, count), original_pairs(reader, count))])
    return rows.sort(pl.col("augmentation").cast(pl.Enum(reader.augmentations)), maintain_order=True)


def thresholds(reader: Reader) -> pl.DataFrame:
    rates = settings(reader).false_match_rates
    pairs = original_pairs(reader, PAIRED if min(rates) >= least_false_match_rate(PAIRED) else MOST_PAIRED)
    if not reader.choice(Choices).false_match_rate:
        least = least_false_match_rate(pairs.equivalent_images)
        rates = tuple(rate for rate in rates if rate >= least)
    return thresholds_of(pairs, rates, reader.info.seed)


def matches(reader: Reader) -> pl.DataFrame:
    return matching.matches(cosines(reader), reader.need("thresholds"), reader.groups)


def roc(reader: Reader) -> pl.DataFrame:
    count = _compared(reader)
    return matching.roc(cosines(reader, count), original_pairs(reader, count))


def pairs_of_augmentations(reader: Reader) -> pl.DataFrame:
    """Returns rows of `differences`: how many more images one augmentation's views find, or match, than another's."""
    ranks = reader.table("search_ranks")
    if ranks is None or ranks.is_empty():
        return pl.DataFrame(schema=DIFFERENCES_SCHEMA)
    found = {"recall@1": found_first(ranks_by_view(ranks, reader.augmentations, reader.info.draws))}
    at = reader.need("thresholds").filter(pl.col("false_match_rate") == RATE)["threshold"].drop_nulls()
    if len(at):
        cosine = np.stack([*cosines(reader).values()], axis=-1)
        is_matched = cosine.astype(np.float32) >= np.float32(at[0])
        found[MATCHED] = np.where(np.isnan(cosine), np.nan, is_matched)
    return pl.concat(
        matching.paired(metric, values, reader.augmentations, reader.groups, reader.info.seed)
        for metric, values in found.items()
    )


@functools.lru_cache(maxsize=1)
def original_pairs(reader: Reader, count: int) -> ScoredPairs:
    rows = reader.rows().filter(pl.col("view") == ORIGINAL).select("embedding").head(count).collect()
    return all_pairs(rows["embedding"].to_numpy(), reader.groups)


def cosines(reader: Reader, count: int | None = None) -> Mapping[str, Values]:
    ranks, draws = reader.need("search_ranks"), reader.info.draws
    parts = ranks.partition_by("view", as_dict=True, maintain_order=True)
    return {name: matching.by_image(parts[name,]["cosine"], draws)[:count] for name in reader.augmentations}


def _compared(reader: Reader) -> int:
    return min(settings(reader).queries or PAIRED, PAIRED)


@functools.lru_cache(maxsize=1)
def misses(reader: Reader) -> pl.DataFrame:
    """Returns `view, missed, copies, recall` by augmentation, from stored ranks less the near-copies ahead."""
    label = near_copies(reader)
    own, first = (pl.col(name).replace_strict(label, default=None, return_dtype=pl.Int64) for name in NAMES)
    is_missed = pl.col("rank") > 1
    ranks = reader.need("search_ranks").drop_nulls("rank").with_columns(label=own, is_copy=is_missed & (own == first))
    asked = ranks.filter(is_missed & pl.col("label").is_not_null()).select(*KEY, "label", own_cosine="cosine")
    groups_asked = {*asked["label"]}
    images = [image_id for image_id, group in label.items() if group in groups_asked]
    rows = reader.rows().filter(pl.col("image_id").is_in(images)).select(*KEY, "embedding")
    views, originals = rows.join(asked.lazy(), on=KEY).collect(), rows.filter(pl.col("view") == ORIGINAL).collect()
    ahead, names = list[int](), originals["image_id"].to_numpy()
    if images:
        groups = np.array([label[image_id] for image_id in names])
        vectors = normalised(originals["embedding"].to_numpy())
        for query, view in zip(normalised(views["embedding"].to_numpy()), views.iter_rows(named=True), strict=True):
            copies = vectors[(groups == view["label"]) & (names != view["image_id"])]
            ahead.append(int((copies @ query >= view["own_cosine"] - TIE).sum()))
    counted = views.select(*KEY, ahead=pl.Series(ahead, dtype=pl.Int64))
    is_found = pl.col("rank") - pl.col("ahead").fill_null(0) == 1
    return (
        ranks.join(counted, on=KEY, how="left")
        .group_by("view")
        .agg(missed=is_missed.sum(), copies=pl.col("is_copy").sum(), recall=is_found.mean())
    )


def counts_copies(reader: Reader) -> bool:
    """Returns whether near-copies count as other images: where no groups and no map are chosen."""
    as_it_is = reader.groups is None and reader.index is None
    return as_it_is and reader.table("search_ranks") is not None


def misses_in_words(reader: Reader) -> str:
    """Returns how many misses are near-copies of the original; "" for none."""
    if not counts_copies(reader):
        return ""
    table = misses(reader)
    if not (copies := table["copies"].sum()):
        return ""
    lowest, highest = (f"{100 * table['recall'].sort()[end]:.1f} %" for end in (0, -1))
    ends = lowest if lowest == highest else f"{lowest} (worst change) to {highest}"
    missed = f"{table['missed'].sum():,} misses"
    return f"In {copies:,} of {missed} a near-copy came first; without near-copies {ends} are found"


def count_without_copies(reader: Reader) -> Step | None:
    why = "leave near-copies out of the results"
    return Step(why, NEAR_COPIES) if misses_in_words(reader) else None


def list_duplicates(reader: Reader) -> Step | None:
    pairs = reader.table("duplicates")
    if pairs is None or pairs.is_empty():
        return None
    return Step(f"{images_in(pairs):,} images are likely duplicates: list their pairs", DUPLICATES)


def _table(
    name: str,
    make: Callable[[Reader], pl.DataFrame],
    *reads: str,
    made_from: Callable[[Settings], Mapping[str, str]] = lambda chosen: chosen.for_ranks,
    **options: Any,
) -> Table[Reader]:
    return Table(
        name,
        make,
        reads,
        lambda reader: reader.info.has_vectors and (name in OF_ORIGINALS or reader.augmentations),
        requires=REQUIRES,
        settings=lambda reader: made_from(settings(reader)),
        doc=DOCS[name],
        **options,
    )


# A recall is a proportion of images.
RULES = Rules(
    keys=("augmentation", "metric"),
    columns={"value": ("ci_low", "ci_high")},
    unit=lambda column, row: "fraction",
    limits=lambda column, row: (0.0, 1.0),
    is_proportion=lambda column, row: row["metric"] in matching.RECALLS,
)
DOCS = {
    "search_ranks": "One row per view used as a query: the rank of its original, and the image found instead.",
    "search_neighbours": "The nearest other images of each original, ten at most.",
    "gallery_sizes": "Recall@1 in larger galleries: measured, predicted, or a lower bound.",
    "search": "Search quality by augmentation: recall, mean reciprocal rank, overlap of neighbours and AUC.",
    "thresholds": "Cosine thresholds above which two images count as the same, by false-match rate, with intervals.",
    "hubs": "How many queries have one and the same first result, originals and views; skewness of 10-occurrences.",
    "matches": "The proportion of views that reach each threshold with their own original.",
    "roc": "The proportion of views that match, by false-match rate.",
    "duplicates": "Likely duplicates: pairs of images nearer than different images are expected to be, in groups.",
}

TABLES = (
    _table("search_ranks", lambda reader: search_results(reader).ranks, per_image=True, names=NAMES),
    _table("search_neighbours", lambda reader: search_results(reader).neighbours, per_image=True, names=NAMES),
    _table("gallery_sizes", lambda reader: gallery_sizes(search_results(reader).searches)),
    _table("hubs", lambda reader: search_results(reader).hubs),
    _table("search", search, "search_ranks", rules=RULES),
    _table("thresholds", thresholds, made_from=lambda chosen: chosen.for_thresholds),
    _table("matches", matches, "search_ranks", "thresholds", made_from=lambda chosen: chosen.for_thresholds),
    _table("roc", roc, "search_ranks"),
    _table("duplicates", duplicates, made_from=lambda chosen: chosen.for_duplicates, names=NAMES),
    copies.TABLE,
)
DIFFERENCES = (pairs_of_augmentations,)
# What the command line says below its tables, and what to do next.
LINES = (misses_in_words,)
STEPS = (count_without_copies, list_duplicates)
