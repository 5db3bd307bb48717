"""Several vectors an image: what small parts they find, at which rates of false matches, and what they cost.

usage: python benchmarks/layouts.py table STUDY ...
       python benchmarks/layouts.py rates STUDY ...
       python benchmarks/layouts.py simulated [--images 5000]
       python benchmarks/layouts.py coverage [--worlds 300] [--images 20 50 200]
       python benchmarks/layouts.py tiles STUDY
       python benchmarks/layouts.py cost PHOTOS [--model NAME]
       python benchmarks/layouts.py large [--images 100000]

Studies are of `run --tiles 4 --mirrored`. "rates": thresholds of one half of the photographs, false matches of the
other half, in 30 splits. "simulated": the same where vectors are drawn, on 5,000 fresh images. "coverage": how often
intervals of paired differences hold the truth, the mean of 400 other studies of the size; "grouped" has groups of four
images (of 20 images, of two) that are alike. "tiles": of images that only tiles find, how often the nearest tile shows
the most of the part.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import embedshift
from bench import print_head, print_machine, print_row
from embedshift.arrays import Floats, GroupNumbers
from embedshift.augmentations import ORIGINAL, Augmentation, rebuild_suite
from embedshift.questions.layouts.tables import RECALL, layouts
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.judged import Judged, Outcomes, judge
from embedshift.statistics.retrieval import Gallery, search
from embedshift.statistics.thresholds import MATCHED, RATE, all_pairs, matched, threshold
from embedshift.statistics.tiles import boxes
from embedshift.statistics.vector_layouts import ONE, TILES, TILES_MEAN, available, in_gallery
from embedshift.store.gallery import originals, queries_of, query_columns
from embedshift.store.shards import fixed_lists
from embedshift.study import Study

DIM, LARGE_DIM, TRUTH, SPLITS, K = 32, 128, 400, 30, 4


def table(folders: list[Path]) -> None:
    """Recall and matches with intervals, and the gain over one vector, by layout and change."""
    print_head("study", "change", "layout", "recall@1", "95 %", MATCHED, "gained, points", "95 %")
    for folder in folders:
        study = embedshift.load(folder)
        for name in (*study.augmentations, "all"):
            rows = study.layouts().filter(augmentation=name)
            for layout in rows["layout"].unique(maintain_order=True):
                found = rows.filter(layout=layout).rows_by_key("metric", named=True, unique=True)
                row, matched = found[RECALL], found[MATCHED]["value"]
                ends = [f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"]
                gain = [f"{100 * row[name]:+.1f}" for name in ("difference", "difference_low", "difference_high")]
                cells = folder.name, name, layout, f"{row['value']:.3f}", *ends
                print_row(*cells, "-" if matched is None else f"{matched:.3f}", gain[0], " to ".join(gain[1:]))
        if "layout_tolerance" in study.table_names:
            for row in study.layout_tolerance().iter_rows(named=True):
                ends = [("-" if row[end] is None else f"{row[end]:.3f}") for end in ("value", "low", "high")]
                print_row(folder.name, row["family"], row["layout"], f"{row['criterion']} at", *ends)


def pairs_of(study: Study, layout: str) -> tuple[Floats, Floats]:
    """Queries of originals `[n, D]` and what the gallery has of them."""
    reader = study.reader()
    rows = reader.rows().filter(pl.col("view") == ORIGINAL).select(query_columns(layout)).collect()
    return queries_of(rows, layout), originals(reader, layout=layout).gallery.vectors


def rates(folders: list[Path]) -> None:
    print_head("study", "layout", "splits", "mean rate of false matches", "least", "most")
    for folder in folders:
        study = embedshift.load(folder)
        for layout in available(study.reader().image_rows.columns):
            queries, vectors = pairs_of(study, layout)
            found = [rate_of(*halves(queries, vectors, seed)) for seed in range(SPLITS)]
            print_row(folder.name, layout, SPLITS, f"{np.mean(found):.5f}", f"{min(found):.5f}", f"{max(found):.5f}")


def halves(queries: Floats, vectors: Floats, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    order = np.random.default_rng(seed).permutation(len(queries))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    return queries[first], vectors[first], queries[second], vectors[second]


def rate_of(queries: Floats, vectors: Floats, others: Floats, of_others: Floats) -> float:
    """The part of the pairs of other images, each a query for each, that reaches the threshold of these."""
    least = np.float32(threshold(all_pairs(queries, None, vectors), RATE))
    return float((all_pairs(others, None, of_others).cosines >= least).mean())


def simulated(count: int) -> None:
    print_head("layout", "images", "splits", "mean rate", "least", "most")
    for layout in (TILES, TILES_MEAN):
        found = []
        for seed in range(SPLITS):
            parts = []
            for part in (0, 1):
                whole, tiles, _, _ = world("independent", count, 2 * seed + part)
                parts += [whole, in_gallery(layout, whole, tiles)]
            found.append(rate_of(*parts))
        print_row(layout, f"{count:,}", SPLITS, f"{np.mean(found):.5f}", f"{min(found):.5f}", f"{max(found):.5f}")


def coverage(worlds: int, sizes: list[int]) -> None:
    print_head("world", "images", "layout", "metric", "true gain, points", "covered, %", "95 %")
    for kind in ("independent", "grouped"):
        for count in sizes:
            for layout in (TILES, TILES_MEAN):
                truths = [judged(kind, count, layout, 10_000 + seed) for seed in range(TRUTH)]
                found = [judged(kind, count, layout, seed) for seed in range(worlds)]
                for metric in found[0]:
                    true = float(np.mean([each[metric].difference[0] for each in truths]))
                    ends = [each[metric].interval() for each in found]
                    held = sum(bool(low[0] <= true <= high[0]) for low, high in ends)
                    low, high = clopper_pearson(held, worlds)
                    print_row(
                        kind, count, layout, metric, f"{100 * true:.2f}", f"{100 * held / worlds:.1f}",
                        f"{100 * low:.1f} to {100 * high:.1f}",
                    )  # fmt: skip


def judged(kind: str, count: int, layout: str, seed: int) -> dict[str, Judged]:
    whole, tiles, views, groups = world(kind, count, seed)
    outcomes: list[dict[str, Outcomes]] = []
    for vectors in (whole, in_gallery(layout, whole, tiles)):
        found = search(views, np.arange(count), Gallery.of(vectors, groups), count=0)
        numbers = {RECALL: Outcomes((found.rank == 1).astype(float)[:, None, None])}
        if count >= 150:
            numbers[MATCHED] = matched(found.cosine[:, None, None], all_pairs(whole, groups, vectors), RATE)
        outcomes.append(numbers)
    before, after = outcomes
    return {metric: judge(before[metric], after[metric], groups, seed=0) for metric in before}


def world(kind: str, count: int, seed: int) -> tuple[Floats, Floats, Floats, GroupNumbers | None]:
    """Whole images, four tiles of each, views of a part; some are harder than others, and so are groups."""
    rng, spread = np.random.default_rng([count, seed]), np.linspace(0.3, 2, DIM)
    groups = np.arange(count) // (2 if count < 40 else 4) if kind == "grouped" else None
    whole, hard = rng.normal(size=(count, DIM)) * spread + 0.4, rng.lognormal(0, 0.5, (count, 1))
    if groups is not None:
        centres, strength = rng.normal(size=(count, DIM)), rng.lognormal(0, 0.5, (count, 1))
        whole, hard = 0.8 * centres[groups] * spread + 0.6 * whole, strength[groups]
    tiles = 0.7 * whole[:, None] + 0.7 * rng.normal(size=(count, K, DIM)) * spread
    shown = tiles[np.arange(count), rng.integers(K, size=count)]
    views = 0.2 * whole + 0.8 * shown + 1.4 * hard * rng.normal(size=whole.shape) * spread
    return whole.astype(np.float32), tiles.astype(np.float32), views.astype(np.float32), groups


def nearest_tiles(folders: list[Path]) -> None:
    """Of images that only tiles find: how often the best tile covers the most of the part, or a tenth less."""
    print_head(
        "study", "part", "found by tiles alone", "best tile covers the most, or a tenth less", "a tile at random"
    )
    for folder in folders:
        study = embedshift.load(folder)
        suite = rebuild_suite(study.info()["identity"]["augmentations"])
        assert suite is not None
        ranks = [study.table("search_ranks", layout=layout) for layout in (TILES, ONE)]
        keys = ["image_id", "view"]
        both = ranks[0].join(ranks[1].select(*keys, alone="rank"), on=keys).filter(rank=1).filter(pl.col("alone") > 1)
        rows = study.rows().select(*keys, "view_seed", "embedding", "tiles").collect()
        tiled = dict(rows.filter(view=ORIGINAL).select("image_id", "tiles").iter_rows())
        for name in [name for name in study.augmentations if name.startswith("crop@")]:
            found = rows.filter(view=name).join(both, on=keys, how="semi")
            good, chance = list[bool](), list[float]()
            for image_id, _, seed, query, _ in found.iter_rows():
                vectors = np.reshape(tiled[image_id], (-1, len(query)))
                cosines = vectors @ np.array(query) / np.linalg.norm(vectors, axis=1)
                covered = covered_by_tiles(suite[name], seed, len(vectors))
                enough = covered >= covered.max() - 0.1
                good.append(bool(enough[cosines.argmax()]))
                chance.append(enough.mean())
            if good:
                print_row(folder.name, name, len(good), f"{np.mean(good):.2f}", f"{np.mean(chance):.2f}")


def covered_by_tiles(crop: Augmentation, seed: int, count: int) -> Floats:
    """Which fraction of the part each tile shows; a crop's place is a fraction of the sides, whatever their length."""
    source = crop.geometry(np.zeros((200, 200, 3), np.uint8), seed)
    assert source is not None
    assert source.source is not None
    places = (source.source.reshape(-1, 2) + 0.5) / 200
    low, high = places.min(axis=0), places.max(axis=0)
    tiles = np.array(boxes(count))
    sides = np.clip(np.minimum(high, tiles[:, 2:]) - np.maximum(low, tiles[:, :2]), 0, None)
    return np.asarray(sides.prod(axis=1) / (high - low).prod(), np.float32)


def cost(photos: Path, model: str, count: int) -> None:
    """Seconds of the encoder, of whole runs, and passes, beside a run without tiles; each is the best of two."""
    print_head("setting", "passes an image", "seconds of a run", "times as many passes", "times as long")
    base: list[float] = []
    for settings in ({}, {"tiles": 4}, {"tiles": 9}, {"mirrored": True}):
        seconds = min(timed_run(photos, model, count, settings) for _ in range(2))
        passes = 10 + int(settings.get("tiles", 0)) + 10 * bool(settings.get("mirrored"))
        base = base or [passes, seconds]
        words = ", ".join(f"{name} {value}" for name, value in settings.items()) or "one vector"
        print_row(words, passes, f"{seconds:.1f}", f"{passes / base[0]:.2f}", f"{seconds / base[1]:.2f}")


def timed_run(photos: Path, model: str, count: int, settings: dict[str, Any]) -> float:
    encoder = embedshift.load_encoder(model)
    with tempfile.TemporaryDirectory() as place:
        given = {"augmentations": "paper", "limit": count, "progress": False, **settings}
        started = time.perf_counter()
        embedshift.run(photos, out=f"{place}/study", model=encoder, **given)
        return time.perf_counter() - started


def large(count: int) -> None:
    """A study of drawn vectors, five an image: seconds and memory of its layouts, in a process of its own each."""
    print_head("images", "vectors", "numbers", "FAISS", "seconds", "CPU seconds", "peak MiB", "recall@1 of tiles")
    with tempfile.TemporaryDirectory() as place:
        make(Path(place), count)
        for faiss in (True, False):
            context = multiprocessing.get_context("spawn")
            queue: multiprocessing.Queue[str] = context.Queue()
            process = context.Process(target=timed, args=(f"{place}/study", faiss, queue))
            process.start()
            found = json.loads(queue.get())
            process.join()
            print_row(f"{count:,}", f"{5 * count:,}", LARGE_DIM, "yes" if faiss else "no", *found)


def make(place: Path, count: int) -> None:
    rng, kind = np.random.default_rng(0), pa.list_(pa.float32(), LARGE_DIM)
    schema = pa.schema([("image_id", pa.string()), ("view", pa.string()), ("tile", pa.int64()), ("vector", kind)])
    with pq.ParquetWriter(place / "vectors.parquet", schema) as writer:
        for start in range(0, count, 10_000):
            ids = [f"{number:07d}" for number in range(start, min(count, start + 10_000))]
            whole = rng.normal(size=(len(ids), LARGE_DIM)).astype(np.float32)
            tiles = whole + rng.normal(size=(K, *whole.shape)).astype(np.float32)
            view = tiles[0] + 1.5 * rng.normal(size=whole.shape).astype(np.float32)
            parts = [(ORIGINAL, 0, whole), *((ORIGINAL, 1 + k, tiles[k]) for k in range(K)), ("part", 0, view)]
            for name, tile, vectors in parts:
                cells = [ids, [name] * len(ids), [tile] * len(ids), fixed_lists(vectors)]
                writer.write_table(pa.table(cells, schema=schema))
    embedshift.from_vectors(place / "vectors.parquet", out=place / "study", progress=False)


def timed(folder: str, faiss: bool, queue: "multiprocessing.Queue[str]") -> None:
    if not faiss:
        sys.modules["faiss"] = None  # type: ignore[assignment]
    reader = embedshift.load(folder).reader()
    started, processor = time.perf_counter(), time.process_time()
    table = layouts(reader)
    seconds, used = time.perf_counter() - started, time.process_time() - processor
    value = table.filter(layout=TILES, augmentation="all", metric=RECALL)["value"].item()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    queue.put(json.dumps([f"{seconds:.0f}", f"{used:.0f}", f"{peak:,}", f"{value:.4f}"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("table", "rates", "simulated", "coverage", "tiles", "cost", "large"))
    parser.add_argument("places", nargs="*", type=Path)
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--images", nargs="+", type=int)
    parser.add_argument("--model", default="dinov2-small-offline")
    given = parser.parse_args()
    images: list[int] = given.images or []
    parts: dict[str, Callable[[], None]] = {
        "table": lambda: table(given.places),
        "rates": lambda: rates(given.places),
        "simulated": lambda: simulated(*(images or [5_000])),
        "coverage": lambda: coverage(given.worlds, images or [20, 50, 200]),
        "tiles": lambda: nearest_tiles(given.places),
        "cost": lambda: cost(given.places[0], given.model, *(images or [50])),
        "large": lambda: large(*(images or [100_000])),
    }
    parts[given.part]()
    print_machine()


if __name__ == "__main__":
    main()
