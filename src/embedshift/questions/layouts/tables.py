"""The tables `layouts` and `layout_tolerance`: what changed images find where an image has several vectors."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.report.next_steps import TILES as SEARCH_TILES
from embedshift.report.next_steps import Step
from embedshift.statistics.judged import NUMBERS, Judged, Outcomes, judge
from embedshift.statistics.search_index import search_function
from embedshift.statistics.strengths import MISSED, MISSED_CRITERION, TOLERANCE_SCHEMA, tolerances_from_curves
from embedshift.statistics.thresholds import MATCHED, RATE, all_pairs, least_false_match_rate, matched
from embedshift.statistics.vector_layouts import ONE, TILES, available
from embedshift.store.embeddings import images_read
from embedshift.store.gallery import originals, queries_of, query_columns
from embedshift.store.reader import Reader
from embedshift.store.table import Rules, Table, rules_of_strengths

ALL = "all"
RECALL = "recall@1"
RECALLS = {RECALL: 1, "recall@10": 10}
# Images whose pairs give the threshold.
PAIRED = 2_000
SCHEMA = pl.Schema(
    {"layout": str, "augmentation": str, "family": str, "level": int, "parameter": float, "metric": str}
    | {"n": int, "vectors": int}
    | dict.fromkeys(NUMBERS, float)
)
TOLERANCES = pl.Schema({"layout": pl.String(), **TOLERANCE_SCHEMA, "falls": pl.String()})
REQUIRES = "several vectors an image: run it with `tiles` 4 or `mirrored`"


def layouts(reader: Reader) -> pl.DataFrame:
    """Returns what each layout finds, and its difference from one vector an image, paired by image."""
    groups = reader.first_groups(images_read(reader))
    levels = {
        view: (family.name, level, parameter)
        for family in reader.families
        for level, (view, parameter) in enumerate(zip(family.views, family.parameters, strict=True), start=1)
    }
    names, rows = [*reader.augmentations, ALL], list[tuple[object, ...]]()
    base: Mapping[str, Outcomes] = {}
    for layout in available(reader.image_rows.columns):
        vectors, found = outcomes(reader, layout)
        base = base or found
        for metric, outcome in found.items():
            judged = judge(base[metric], outcome, groups, seed=reader.info.seed)
            for name, n, numbers in _numbers(judged, names, is_base=layout == ONE):
                place = levels.get(name, (None, None, None))
                rows.append((layout, name, *place, metric, n, vectors, *numbers))
    return pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None)


def _numbers(judged: Judged, names: Sequence[str], *, is_base: bool) -> Iterator[tuple[str, int, list[float]]]:
    none = [np.zeros_like(judged.value)] * 3
    columns = [judged.value, *judged.own_interval(), *(none if is_base else [judged.difference, *judged.interval()])]
    for place, name in enumerate(names):
        n = int(judged.n[place])
        yield name, n, [float(column[place]) if n else np.nan for column in columns]


def outcomes(reader: Reader, layout: str) -> tuple[int, Mapping[str, Outcomes]]:
    """Returns how many vectors an image has, and by metric what its views find, `[n, draws, A]`."""
    searched, count, order = originals(reader, layout=layout), images_read(reader), reader.image_rows.layout
    views = [order.positions(name) for name in reader.augmentations]
    rank, cosine = (np.full((count, len(views[0]), len(views)), np.nan) for _ in range(2))
    function = search_function(searched.gallery, views=rank.size)
    own, start = list[Floats](), 0
    for block in reader.image_rows.head(count).blocks(*query_columns(layout)):
        queries = queries_of(block, layout)
        queries = queries.reshape(-1, len(order.views), queries.shape[-1])
        positions = np.arange(start, start + len(queries))
        own.append(queries[:, order.views.index(ORIGINAL)])
        for column, places in enumerate(views):
            for draw, place in enumerate(places):
                ranked = function(queries[:, place], positions, 0)
                rank[positions, draw, column] = np.where(ranked.rank > 0, ranked.rank, np.nan)
                cosine[positions, draw, column] = ranked.cosine
        start += len(queries)
    outcome = {name: Outcomes(np.where(np.isnan(rank), np.nan, rank <= k)) for name, k in RECALLS.items()}
    queries = np.concatenate(own)[:PAIRED]
    pairs = all_pairs(queries, reader.groups, searched.gallery.vectors[: len(queries)])
    has_enough = least_false_match_rate(pairs.equivalent_images) <= RATE
    outcome[MATCHED] = matched(cosine, pairs, RATE) if has_enough else Outcomes(np.full_like(cosine, np.nan))
    return searched.gallery.several, outcome


def layout_tolerance(reader: Reader) -> pl.DataFrame:
    """Returns the rows of `tolerance` for each layout: the strength at which too many views miss their original."""
    table = reader.need("layouts").filter(pl.col("metric") == RECALL, pl.col("augmentation") != ALL)
    tolerance = reader.table("tolerance")
    falls = {} if tolerance is None else dict(tolerance.select("family", "falls").iter_rows())
    parts = []
    for (layout,), rows in table.group_by("layout", maintain_order=True):
        found = rows.select("augmentation", "value", "ci_low", "ci_high").fill_null(np.nan)
        missed = {name: (1 - value, 1 - high, 1 - low) for name, value, low, high in found.iter_rows()}
        part = tolerances_from_curves(reader.families, missed, MISSED_CRITERION, MISSED)
        family = pl.col("family").replace_strict(falls, default=None, return_dtype=pl.String)
        parts.append(part.select(pl.lit(layout).alias("layout"), *TOLERANCE_SCHEMA, family.alias("falls")))
    return pl.concat(parts) if parts else pl.DataFrame(schema=TOLERANCES)


def search_with_tiles(reader: Reader) -> Step | None:
    """Returns the command that searches with tiles, where they find more, at as many false matches too."""
    table = reader.table("layouts")
    if table is None or TILES not in table["layout"]:
        return None
    rows = table.filter(layout=TILES, augmentation=ALL).rows_by_key("metric", named=True, unique=True)
    gain, matched = rows[RECALL], rows[MATCHED]
    if (gain["difference_low"] or 0) <= 0 or matched["difference"] is None or matched["difference"] < 0:
        return None
    vectors, points = gain["vectors"], 100 * gain["difference"]
    return Step(f"{vectors} vectors an image find {points:.1f} points more of the changed images", SEARCH_TILES)


def _is_available(reader: Reader) -> bool:
    several = available(reader.image_rows.columns) != [ONE]
    return several and reader.whitening is None and reader.info.has_vectors and bool(reader.augmentations)


STEPS = (search_with_tiles,)
TABLES = (
    Table(
        "layouts",
        layouts,
        is_available=_is_available,
        requires=REQUIRES,
        settings=lambda reader: {"version": "1", "groups": reader.info.groups_digest},
        doc="What changed images find where an image has several vectors, or a mean of them, beside one vector.",
        rules=Rules(
            keys=("layout", "augmentation", "metric"),
            columns={"value": ("ci_low", "ci_high"), "difference": ("difference_low", "difference_high")},
            unit=lambda column, row: "fraction",
            limits=lambda column, row: (-1.0, 1.0) if column == "difference" else (0.0, 1.0),
            is_proportion=lambda column, row: column == "value",
        ),
    ),
    Table(
        "layout_tolerance",
        layout_tolerance,
        reads=("layouts", "tolerance"),
        is_available=lambda reader: _is_available(reader) and any(family.has_strength for family in reader.families),
        requires="a suite of families, such as `augmentations` strength",
        doc="One row a layout and family: the strength at which too many views miss their original.",
        rules=rules_of_strengths("layout", "family", "criterion"),
    ),
)
