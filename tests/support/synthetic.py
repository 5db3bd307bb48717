"""Studies made of numbers: a folder as a run leaves it, written in a moment, without an encoder.

Embeddings, attention and what follows from them agree with each other, by formulas written here again; the pixel
metrics are drawn. Galleries work where pictures are asked for: the views are those of the real augmentations.
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from embedshift.arrays import Values
from embedshift.augmentations import Augmentation
from embedshift.augmentations.paper import PAPER
from embedshift.augmentations.views import view_seed
from embedshift.encoders import TITLES
from embedshift.registry import questions
from embedshift.sources import remember_roots
from embedshift.sources.base import Failure
from embedshift.sources.images import pixels_hash
from embedshift.statistics.summary import PAPER_METRICS
from embedshift.store.info import SCHEMA_VERSION, identity_hash, write_content
from embedshift.store.shards import ShardRecord, fixed_lists, schema, with_sums, write_failures, write_shard
from embedshift.study import Study
from support.graded import STRENGTH_METRICS, default_strength, paper, with_grades
from support.once import write_tables
from support.other_images import with_other_images
from support.revised import file_checksums
from support.shifts import with_shifts

SIZE = 32
PIXEL_METRICS = PAPER_METRICS[3:]
TEXT_METRICS = ("text_alignment_shift", "zero_shot_flip")
# Optional metrics of attention, and their values for a change of x: a relative shift of attention lost, or a rise.
LOOKS: dict[str, Callable[[Any], Any]] = {
    "attention_entropy_rise": lambda x: 0.3 * x - 0.1,
    "attention_divergence": lambda x: 1 - np.exp(-0.2 * x),
    "aligned_attention_similarity": lambda x: 1 / (1 + 0.05 * x),
    "rollout_similarity": lambda x: 1 / (1 + 0.02 * x),
}
LAYER_COLUMNS = ("layer_cosine_cls", "layer_l2_cls", "layer_cosine_patches", "layer_l2_patches")
HEAD_NUMBERS = ("head_input", "head_pattern", "head_rest")


def make_study(
    folder: Path,
    images: int | Sequence[str] = 12,
    augmentations: Sequence[str | Augmentation] = tuple(PAPER),
    *,
    dim: int = 8,
    grid: tuple[int, int] | None = (4, 4),
    draws: int = 1,
    seed: int = 0,
    effect: Mapping[str, float] | None = None,
    with_pictures: bool = False,
    failures: Sequence[Failure] = (),
    encoder: str = "synthetic-encoder",
    shard_size: int = 64,
    with_tables: bool = True,
    layers: int = 0,
    heads: tuple[int, int] | None = None,
    text: bool = False,
    looks: bool = False,
    of: int | None = None,
) -> Study:
    """A finished study in `folder`.

    Args:
        folder: Where; pictures lie in `folder/pictures`.
        images: How many, or their ids.
        augmentations: Names: those of the paper are the paper's, any other is a horizontal flip. Or views of families.
        dim: Length of the embeddings.
        grid: Of the attention maps; None = an encoder without attention.
        draws: Views per augmentation.
        seed: Of the study and of all made numbers.
        effect: Augmentation → strength of its change; without it noise is 2 and the others rise from 0.15 by 0.05, or
            views of a family with their level.
        with_pictures: Writes 40 x 32 PNGs, so that galleries can be drawn.
        failures: Images that were not measured.
        encoder: Its name.
        shard_size: Images per shard.
        with_tables: Whether the tables are written too.
        layers: Blocks whose shift is there too, as `layers` leaves it; 0 = none.
        heads: Blocks and heads of each, whose relative shifts are there too, as `heads` leaves them; None = none.
        text: Whether captions, class names and a word for every augmentation are there, as `text` and `labels` leave
            them.
        looks: Whether the optional metrics of attention are there: `metrics` attention,aligned,rollout.
        of: Images of a larger study that these are a part of.
    """
    ids = sorted(images) if not isinstance(images, int) else [f"image-{i:05d}.png" for i in range(images)]
    graded = [each for each in augmentations if isinstance(each, Augmentation)]
    names = [each if isinstance(each, str) else each.name for each in augmentations]
    usual = {name: 2.0 if name == "noise" else 0.15 + 0.05 * index for index, name in enumerate(names)}
    usual |= {each.name: default_strength(each) for each in graded} | dict(effect or {})
    strengths = [usual[name] for name in names]
    (folder / "shards").mkdir(parents=True)
    if with_pictures:
        write_pictures(folder / "pictures", ids, seed)
        remember_roots({"kind": "folder", "root": str(folder / "pictures")})
    metrics = (*PAPER_METRICS, *(LOOKS if looks else ()), *(TEXT_METRICS if text else ()))
    metrics += STRENGTH_METRICS if graded else ()
    lists: dict[str, int | None] = {"pairwise": None, **dict.fromkeys(LAYER_COLUMNS if layers else (), layers)}
    lists |= {"heads": heads[0] * heads[1], "mlps": heads[0]} if heads else {}
    lists |= {"word_cosines": len(names)} if text else {}
    info = _info(folder, ids, names, dim, grid, draws, seed, failures, encoder, shard_size)
    told: dict[str, Any] = {"layers": {"layers": True}} if layers else {}
    told |= {"heads": {"heads": True}} if heads else {}
    told |= {"text": _text_identity(names, len(ids))} if text else {}
    asked = [each.name for each in questions() if each.switches is None or each.name in told]
    info["questions"] = {name: told.get(name, {}) for name in asked}
    info["identity"]["questions"] = told
    info["identity"]["metrics"] = list(metrics)
    info["identity"]["augmentations"] |= {each.name: each.describe() for each in graded}
    known = {each.name: each.description for each in (*paper(), *graded)}
    info["descriptions"] = {name: known.get(name, f"what {name} is") for name in names}
    info["config_hash"] = identity_hash(info["identity"])
    numbers = [*metrics, *(HEAD_NUMBERS if heads else ())]
    columns = schema(dim, grid and grid[0] * grid[1], numbers, lists, has_levels=bool(graded))
    records = []
    for index in range(max(1, -(-(len(ids) + len(failures)) // shard_size))):
        part = ids[index * shard_size : (index + 1) * shard_size]
        rng = np.random.default_rng([seed, index])
        lost = tuple(failures) if index == 0 else ()
        records.append(ShardRecord(index, info["config_hash"], len(part), lost, 8, {"encode": 1.0}))
        if not part:  # all of them failed
            write_shard(folder, columns.empty_table().replace_schema_metadata(None), records[-1])
            continue
        pixels = [_pixels(folder / "pictures" if with_pictures else None, each) for each in part]
        power = np.tile(strengths, draws)
        table = _shard(part, pixels, names, power, dim, grid, draws, seed, rng)
        if looks:
            table = _with_looks(table, power, there=grid is not None)
        if layers:
            table = _with_layers(table, np.array(strengths), draws, layers)
        if heads:
            table = _with_heads(table, power, heads)
        if text:
            table = _with_text(table, np.array(strengths), draws)
        if graded:
            table = with_grades(table, graded, draws, seed, rng)
        table = with_other_images(
            with_shifts(table, len(names), draws), metrics, 1 + len(names) * draws, of or len(ids)
        )
        columns = columns.with_metadata(table.schema.metadata)
        write_shard(folder, table.select(columns.names).cast(columns), records[-1])
    files = write_failures(folder, records) | file_checksums((folder / "shards").iterdir())
    study = Study(folder)
    write_content(folder, info | {"files": files})
    if with_tables:
        write_tables(study)
    return study


def write_pictures(folder: Path, ids: Sequence[str], seed: int = 0) -> None:
    """A picture of 40 x 32 pixels per id: a smooth ground with a bright block somewhere."""
    rng = np.random.default_rng(seed)
    for name in ids:
        ground = np.linspace(rng.integers(0, 120, 3), rng.integers(100, 200, 3), 40)[None].repeat(32, axis=0)
        y, x = rng.integers(0, 20, 2)
        ground[y : y + 12, x : x + 12] = rng.integers(150, 256, 3)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ground.astype(np.uint8)).save(folder / name, format="PNG")


def _shard(
    ids: Sequence[str],
    pixels: Sequence[str],
    names: Sequence[str],
    power: Values,
    dim: int,
    grid: tuple[int, int] | None,
    draws: int,
    seed: int,
    rng: np.random.Generator,
) -> pa.Table:
    count, views = len(ids), len(power)
    original = rng.normal(size=(count, 1, dim))
    moved = original + power[:, None] * rng.normal(size=(count, views, dim)) * rng.uniform(0.5, 1.0, (count, views, 1))
    embedding = np.concatenate([original, moved], axis=1).astype(np.float32)
    values = {
        "cosine_similarity": _cosine(embedding[:, :1], embedding[:, 1:]),
        "l2_distance": np.linalg.norm(embedding[:, 1:].astype(np.float64) - embedding[:, :1], axis=-1),
    }
    attention = pa.nulls(count * (views + 1), pa.list_(pa.float32()))
    if grid is not None:
        logits = rng.normal(size=(count, 1, grid[0] * grid[1])) * 2
        change = np.concatenate([[0.0], power])[:, None] * rng.normal(size=(count, views + 1, grid[0] * grid[1]))
        maps = np.exp(logits + change)
        maps /= maps.sum(axis=-1, keepdims=True)
        attention = fixed_lists(maps.reshape(count * (views + 1), -1).astype(np.float32))
        low, high = maps.min(axis=-1, keepdims=True), maps.max(axis=-1, keepdims=True)
        scaled = (maps - low) / (high - low)
        values["attention_similarity"] = 1 / (1 + ((scaled[:, 1:] - scaled[:, :1]) ** 2).mean(axis=-1))
    for metric in PIXEL_METRICS:
        values[metric] = 1 / (1 + power * rng.uniform(0.1, 0.5, (count, views)))
    blocks = np.stack([_pairs(moved[:, d * len(names) : (d + 1) * len(names)]) for d in range(draws)], axis=1)
    lists: list[list[float] | None] = [None] * (count * (views + 1))
    lists[:: views + 1] = [block.ravel().tolist() for block in blocks]
    draw = [0, *np.repeat(np.arange(draws), len(names)).tolist()]
    view = ["original", *(list(names) * draws)]
    seeds = [0 if n == "original" else view_seed(seed, i, n, d) for i in ids for n, d in zip(view, draw, strict=True)]
    data = {
        "image_id": pa.array(np.repeat(np.array(ids, object), views + 1), pa.string()),
        "view": pa.array(view * count),
        "draw": pa.array(draw * count, pa.int32()),
        "view_seed": pa.array(seeds, pa.int64()),
        "pixels": pa.array([cell for each in pixels for cell in (each, *[None] * views)], pa.string()),
        "embedding": fixed_lists(embedding.reshape(-1, dim)),
        "attention": attention,
    }
    table = pa.table(data)
    for metric in PAPER_METRICS:
        there = metric in values
        table = _numbers(table, metric, values[metric] if there else np.zeros((count, views)), missing=not there)
    table = table.append_column("pairwise", pa.array(lists, pa.list_(pa.float32())))
    return table.append_column("caption", pa.nulls(count * (views + 1), pa.string()))


def _numbers(table: pa.Table, name: str, values: Values, *, missing: Any = False) -> pa.Table:
    """A column of numbers `[images, views]`: null on the originals, and where they are missing."""
    mask = np.insert(np.broadcast_to(missing, values.shape), 0, True, axis=1)
    column = np.insert(values, 0, 0.0, axis=1)
    return table.append_column(name, pa.array(column.ravel(), pa.float64(), mask=mask.ravel()))


def _vectors(table: pa.Table, name: str, values: Values, missing: Any = False) -> pa.Table:
    """A column of lists of equal length `[images, views, K]`, with nulls likewise."""
    mask = np.insert(np.broadcast_to(missing, values.shape[:2]), 0, True, axis=1)
    column = np.insert(values.astype(np.float32), 0, 0.0, axis=1)
    return table.append_column(name, fixed_lists(column.reshape(-1, values.shape[2]), mask.ravel()))


def _with_looks(table: pa.Table, power: Values, *, there: bool) -> pa.Table:
    """The stronger an augmentation, the more attention changes; null where there is none."""
    images = table.num_rows // (1 + len(power))
    change = power * np.random.default_rng(images).uniform(0.5, 1.5, (images, len(power)))
    for name, value in LOOKS.items():
        table = _numbers(table, name, value(change), missing=not there)
    return table


def _with_layers(table: pa.Table, strengths: Values, draws: int, depth: int) -> pa.Table:
    """The deeper, the more every augmentation moves; the mean patch less than the class token."""
    images, rng = table.num_rows // (1 + len(strengths) * draws), np.random.default_rng(depth)
    change = np.tile(strengths, draws)[:, None] * np.linspace(0.05, 0.3, depth)
    for place, name in enumerate(LAYER_COLUMNS):
        moved = change * rng.uniform(0.4, 0.6 if place > 1 else 1.0, (images, *change.shape))
        table = _vectors(table, name, 20 * moved if "l2" in name else 1 - moved)
    terms = np.ones((len(strengths), 2, depth, 3))
    terms[..., 0] = 1 - np.clip(strengths, 0, 1)[:, None, None] * np.linspace(0.1, 0.5, depth)
    terms[..., 0] -= 0.05 * np.random.default_rng(zlib.crc32(str(table["image_id"][0]).encode())).random()
    sums = {"images": np.array(float(images)), "terms": images * draws * terms}
    return with_sums(table, {"cka": sums} if images >= 4 else {})


def _with_heads(table: pa.Table, power: Values, shape: tuple[int, int]) -> pa.Table:
    """Contributions: the last block carries most, its head 1 above all; views that did not turn have none."""
    (depth, width), images = shape, table.num_rows // (1 + len(power))
    rng, views, heads = np.random.default_rng(depth * width), images * len(power), depth * width
    contribution = rng.normal(0, 0.01, (views, heads + depth + 3))
    contribution[:, heads - width : heads] += 0.3 / width
    contribution[:, heads - width + min(1, width - 1)] += rng.normal(0.2, 0.05, views)
    contribution[:, heads + depth - 1] += 0.4
    contribution[:, -2:] = 0.0  # a class token, and no rounding
    contribution[:, 0] += 1 - contribution.sum(axis=1)
    still = table["cosine_similarity"].to_numpy().reshape(images, -1)[:, 1:] > 1 - 5e-13
    of_views = contribution.reshape(images, len(power), -1)
    table = _vectors(table, "heads", of_views[..., :heads], still)
    table = _vectors(table, "mlps", of_views[..., heads : heads + depth], still)
    for place, name in enumerate(HEAD_NUMBERS, heads + depth):
        table = _numbers(table, name, of_views[..., place], missing=still)
    return table


def _with_text(table: pa.Table, strengths: Values, draws: int) -> pa.Table:
    """The stronger an augmentation, the less its views match their captions, and the more they point to its word."""
    rng, power = np.random.default_rng(len(strengths)), np.tile(strengths, draws)
    noise = rng.normal(size=(table.num_rows // (1 + len(power)), len(power), len(strengths)))
    points = np.clip(0.3 * np.tile(np.eye(len(strengths)), (draws, 1)) * power[:, None] + 0.05 * noise, -1, 1)
    table = _numbers(table, "text_alignment_shift", 0.05 * noise[..., 0] - 0.1 * power)
    table = _numbers(table, "zero_shot_flip", (noise[..., 0] < power - 1.5).astype(np.float64))
    return _vectors(table, "word_cosines", points)


def _text_identity(names: Sequence[str], images: int) -> dict[str, Any]:
    """What a study with texts adds to its identity."""
    return {
        "words": {"original": "a photo", **{name: f"a photo with {name}" for name in names}},
        "captions": {"count": images, "hash": "0" * 64},
        "labels": {"count": 5, "hash": "0" * 64},
        "templates": ["a photo of a {}.", "a photo of the {}."],
        "tower": "2" * 64,
    }


def _pixels(folder: Path | None, image_id: str) -> str:
    """The hash of an image's pixels; where there is no picture, one as an image of its own would have it."""
    if folder is not None:
        return pixels_hash(np.asarray(Image.open(folder / image_id)))
    return hashlib.blake2b(image_id.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _cosine(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = u.astype(np.float64), v.astype(np.float64)
    cosine: np.ndarray = (u * v).sum(axis=-1) / np.sqrt((u**2).sum(axis=-1) * (v**2).sum(axis=-1))
    return cosine


def _pairs(views: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(views.shape[1], k=1)
    return 1 - _cosine(views[:, first], views[:, second])


def _info(
    folder: Path,
    ids: Sequence[str],
    names: Sequence[str],
    dim: int,
    grid: tuple[int, int] | None,
    draws: int,
    seed: int,
    failures: Sequence[Failure],
    encoder: str,
    shard_size: int,
) -> dict[str, Any]:
    described = paper().describe()
    suite = {name: described.get(name, described["horizontal_flip"]) for name in names}
    preprocess = {"size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}
    pictures = str(folder / "pictures")
    return {
        "embedshift": "0.1.0",
        "schema_version": SCHEMA_VERSION,
        "complete": True,
        "config": {
            "images": [pictures], "model": encoder, "augmentations": "custom", "metrics": [], "limit": None,
            "sample": None, "seed": seed, "draws": draws, "size": None, "resize": "squash", "shard_size": shard_size,
            "batch_size": None, "workers": None, "precision": "float32", "device": "auto", "engine": "local",
            "store": "all",
        },
        "config_hash": "",
        "identity": {
            "images": {"count": len(ids) + len(failures), "ids_hash": "0" * 64}, "weights_hash": "1" * 64,
            **preprocess, "resize": "squash", "augmentations": suite, "seed": seed, "draws": draws,
            "precision": "float32", "batch_size": 8, "shard_size": shard_size, "metrics": list(PAPER_METRICS),
            "versions": {"albumentations": "2.0.8", "opencv": "5.0.0", "transformers_major": "5"},
        },
        "augmentations": list(names),
        "encoder": {
            "name": encoder, "title": TITLES.get(encoder), "revision": None, "weights_hash": "1" * 64, "dim": dim,
            "grid": grid, **preprocess, "shortest": None, "resample": 2, "precision": "float32",
            "attention_kind": grid and "cls",
        },
        "source": {"kind": "folder", "root": pictures},
        "order": "shuffled",
        "counts": {
            "images": len(ids) + len(failures), "measured": len(ids), "failed": len(failures),
            "rows": len(ids) * (1 + len(names) * draws), "skipped": {}},
        "seconds": {"encode": 1.0},
        "versions": {"torch": "2", "transformers": "5", "python": "3.11"},
    }  # fmt: skip
