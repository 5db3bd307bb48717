"""Studies to compare: one as it is, others with its images and views and numbers of their own; and rules about them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import yaml

import embedshift
from embedshift.registry import METRICS
from embedshift.sources.base import Failure
from embedshift.store.info import identity_hash, write_content
from embedshift.store.shards import ShardRecord, write_failures, write_shard
from embedshift.study import Study
from support.once import write_tables
from support.other_images import with_other_images
from support.revised import record_shards
from support.synthetic import make_study

# The last is none of the encoder: it stands for those that may have no value.
DETAIL = "detail_preservation"
ENCODER_METRICS = ("cosine_similarity", "l2_distance", "attention_similarity", DETAIL)
A, B, C = "synthetic-encoder (float32)", "synthetic-encoder (bfloat16)", "other (float32)"
OTHER = {"encoder": {"name": "other", "weights_hash": "2" * 64}, "identity": {"weights_hash": "2" * 64}}
SUITE = ["noise", "blur", "horizontal_flip", "elastic", "perspective"]
EFFECT = {"noise": 2.0, "blur": 0.2, "horizontal_flip": 0.9, "elastic": 0.1, "perspective": 0.5}


def first_study(folder: Path) -> Study:
    """24 images, five augmentations, two draws."""
    return make_study(folder, 24, SUITE, effect=EFFECT, draws=2, seed=3)


def moved(by: float, seed: int, spread: float = 0.02) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Another encoder's numbers: `by` and a random part on top; pixel metrics stay."""
    rng = np.random.default_rng(seed)

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        noise = {name: by + spread * rng.normal(size=len(rows)) for name in ENCODER_METRICS}
        limits = {name: (METRICS[name].low, METRICS[name].high) for name in noise}
        changed = {name: (pl.col(name) + pl.Series(values)).clip(*limits[name]) for name, values in noise.items()}
        return rows.with_columns(**changed)

    return change


def farther(by: Mapping[str, float] | float, spread: float = 0.0) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Another encoder, whose views move so many times as far, under each augmentation or all, image by image."""

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        each = pl.lit(by) if isinstance(by, float) else pl.col("view").replace_strict(by, default=1.0)
        noise = pl.Series(np.exp(spread * np.random.default_rng(0).normal(size=len(rows))))
        moved = 1 - (1 - pl.col("cosine_similarity")) * each * noise
        return rows.with_columns(cosine_similarity=moved.clip(-1.0))

    return change


def turned(seed: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Another encoder: embeddings of its own, and the cosines that follow from them."""

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        vectors = np.stack(rows["embedding"].to_list()).astype(np.float64)
        vectors = (vectors + 0.2 * rng.normal(size=vectors.shape) + 0.3).astype(np.float32).astype(np.float64)
        is_original = (rows["view"] == "original").to_numpy()
        own = vectors[is_original][is_original.cumsum() - 1]
        cosine = (vectors * own).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(own, axis=1)
        kept = pl.when(pl.col("view") != "original").then(pl.Series(cosine)).alias("cosine_similarity")
        return rows.with_columns(pl.Series("embedding", vectors, dtype=rows.schema["embedding"]), kept)

    return change


def rule(text: str) -> dict[str, Any]:
    """A rule as a file has it: `table: search, at_least: 0.9`."""
    return dict(yaml.safe_load(f"{{{text}}}"))


def results(study: Study, against: Study | None, *rules: str) -> tuple[Any, ...]:
    """The only result of each rule, of one check."""
    found = embedshift.check(study, [rule(text) for text in rules], against).results
    assert [result.number for result in found] == [*range(1, len(rules) + 1)]
    return found


def result(study: Study, against: Study | None, text: str) -> Any:
    """The only result of a rule."""
    return results(study, against, text)[0]


def holes(rows: pl.DataFrame) -> pl.DataFrame:
    """Some values of the view that are not a number, as of an image without detail."""
    chosen = (pl.col("view") == "blur") & pl.col("image_id").is_in(["image-00002.png", "image-00006.png"])
    return rows.with_columns(pl.when(chosen).then(np.nan).otherwise(DETAIL).alias(DETAIL))


def three_studies(first: Study, folder: Path) -> list[Study]:
    """A, which is given; B in another precision, with values missing; C of another encoder, with failures."""
    low = variant(first, folder / "b", lambda rows: holes(moved(0.01, 1)(rows)), encoder={"precision": "bfloat16"})
    lost = ("image-00003.png", "image-00009.png")
    return [first, low, variant(first, folder / "c", moved(-0.1, 2), failed=lost, shard_size=5, **OTHER)]


def variant(
    study: Study,
    folder: Path,
    rows: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
    *,
    failed: tuple[str, ...] = (),
    shard_size: int = 7,
    **info: Any,
) -> Study:
    """A study of the same images and views in `folder`, cut into shards of another size, less the images that `failed`.

    `rows` changes the rows; `info` is merged into study.json: `encoder={"name": "b"}`.
    """
    (folder / "shards").mkdir(parents=True)
    parts = [pq.read_table(path) for path in sorted((study.folder / "shards").glob("*.parquet"))]
    columns = parts[0].schema
    whole = rows(pl.concat([pl.DataFrame(part) for part in parts]).filter(~pl.col("image_id").is_in(failed)))
    content = merged(study.info(), info)
    content["config"]["shard_size"] = shard_size
    content["augmentations"] = list(content["identity"]["augmentations"])
    content["identity"]["questions"] = {name: said for name, said in content["questions"].items() if said}
    content["config_hash"] = identity_hash(content["identity"])
    content["files"], content["tables"] = {}, {}
    measured = whole["image_id"].n_unique()
    content["counts"] |= {"images": measured + len(failed), "measured": measured, "failed": len(failed)}
    study = Study(folder)
    write_content(folder, content)
    ids = [*whole["image_id"].unique(maintain_order=True), *failed]
    records = []
    for index in range(-(-len(ids) // shard_size)):
        listed = ids[index * shard_size : (index + 1) * shard_size]
        chosen = [name for name in listed if name not in failed]
        lost = tuple(Failure(name, "decode", "damaged") for name in listed if name in failed)
        records.append(ShardRecord(index, content["config_hash"], len(chosen), lost, 8, {}))
        part = whole.filter(pl.col("image_id").is_in(chosen)).to_arrow().cast(columns)
        if chosen:
            part = with_other_images(part, content["identity"]["metrics"], len(part) // len(chosen), measured)
        write_shard(folder, part.cast(columns.with_metadata(part.schema.metadata)), records[-1])
    write_failures(folder, records)
    record_shards(folder)
    write_tables(study)
    return study


def merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The first with the second on top, level by level; None takes a key away."""
    both = dict(before)
    for key, value in change.items():
        both[key] = merged(before[key], value) if isinstance(value, Mapping) and key in before else value
    return {key: value for key, value in both.items() if value is not None or before.get(key) is None}
