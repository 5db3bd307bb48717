"""Contributions of heads: do they add up, what do they cost, and are they cause or depth?

usage: python benchmarks/heads.py PHOTOS [--every 8] [--routed 2]

Measures the bundled encoder twice on the same drawn views, image by image in turns, without and with `heads`; then puts
heads of the last block back and follows some shifts through the whole network. Ends with exit code 1 where contributions do
not add up to 1 within 1e-4, or cost more than a tenth of the encoder's time.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from embedshift.config import Json, make_config
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.route import put_back, route
from embedshift.encoders.module import ModuleEncoder
from embedshift.pipeline.draw import DrawnImage, draw_image
from embedshift.pipeline.kept import Kept
from embedshift.pipeline.prepare import StudyContext, prepared
from embedshift.pipeline.shard import measure_shards
from embedshift.sources import Shard
from machine import describe_machine

Array = NDArray[np.float64]
SUMS_TO = 1e-4
MOST = 1.1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--every", type=int, default=8, help="take every so many of the photos")
    parser.add_argument("--routed", type=int, default=2, help="images whose shifts are followed through the network")
    options = parser.parse_args()
    files = [str(path) for path in sorted(options.photos.iterdir())[:: options.every]]
    settings: Json = {"images": files, "model": "dinov2-small-offline"}
    with ExitStack() as stack:
        plain = stack.enter_context(prepared(make_config(settings), None))
        split = stack.enter_context(prepared(make_config(settings | {"heads": True}), None))
        drawn = [each for each in _drawn(plain) if isinstance(each, DrawnImage)]
        seconds, tables = _measure(drawn, plain, split)
        rows = pl.concat(tables).filter(pl.col("view") != "original")
        off = _off(rows)
        ratio = seconds[:, 1].sum() / seconds[:, 0].sum()
        print(f"{len(drawn)} photos, {rows.height} views: contributions add up to 1 within {off:.1e}")
        print(f"CPU time with heads: {ratio:.3f} of that without; image by image {_quartiles(seconds)}")
        _contributions(rows)
        _causes(split, drawn, rows, options.routed)
    print(describe_machine())
    sys.exit(0 if off < SUMS_TO and ratio < MOST else 1)


def _drawn(study: StudyContext) -> Iterator[object]:
    for sample in study.samples:
        yield draw_image(sample, study.source, study.plan)


def _measure(drawn: list[DrawnImage], *studies: StudyContext) -> tuple[Array, list[pl.DataFrame]]:
    """CPU seconds `[images, studies]`, and the rows of the last study."""
    seconds, tables = [], []
    for place, image in enumerate(drawn):
        row = []
        for study in studies:
            shard = Shard(0, (image.sample,))
            started = time.process_time()
            [(table, _)] = measure_shards([shard], iter([image]), study.ready, study.plan, Kept(None, study.plan))
            row.append(time.process_time() - started)
        tables.append(pl.DataFrame(pl.from_arrow(table)))
        if place:  # the first warms up
            seconds.append(row)
    return np.array(seconds), tables


def _quartiles(seconds: Array) -> str:
    low, middle, high = np.quantile(seconds[:, 1] / seconds[:, 0], (0.25, 0.5, 0.75))
    return f"{low:.3f}, {middle:.3f}, {high:.3f} (quartiles)"


def _lists(rows: pl.DataFrame, name: str) -> Array:
    return np.stack(rows[name].to_list()).astype(np.float64)


def _off(rows: pl.DataFrame) -> float:
    total = _lists(rows, "heads").sum(axis=1) + _lists(rows, "mlps").sum(axis=1)
    total += sum(rows[name].to_numpy() for name in ("head_input", "head_pattern", "head_rest"))
    return float(np.abs(total - 1).max())


def _contributions(rows: pl.DataFrame) -> None:
    """What the last block carries, by augmentation."""
    depth = len(rows["mlps"][0])
    heads, mlps = _lists(rows, "heads"), _lists(rows, "mlps")
    last = heads.reshape(len(heads), depth, -1)[:, -1].sum(axis=1) + mlps[:, -1]
    table = rows.select("view", pl.Series("last block", last), pl.Series("all MLPs", mlps.sum(axis=1)))
    weights = 1 - pl.col("cosine_similarity")
    table = table.with_columns(rows["cosine_similarity"])
    with pl.Config(tbl_rows=-1, float_precision=2, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print("contributions, each view weighted by its shift:")
        print(
            table.group_by("view", maintain_order=True).agg(
                (pl.col(name) * weights).sum() / weights.sum() for name in ("last block", "all MLPs")
            )
        )


def _causes(study: StudyContext, drawn: list[DrawnImage], rows: pl.DataFrame, routed: int) -> None:
    """Heads of the last block put back, against their contributions; and where the shifts of some images come in."""
    encoder = study.ready.encoder
    assert isinstance(encoder, ModuleEncoder)
    anatomy = Anatomy(encoder.tower)
    count = anatomy.heads
    contributions = _lists(rows, "heads")[:, -count:].reshape(len(drawn), -1, count)
    put: list[tuple[Array, Array]] = []
    names, entered = study.plan.suite.names, []
    for place, image in enumerate(drawn):
        pixels = torch.from_numpy(image.views).permute(0, 3, 1, 2).float()
        # Two views an image, all augmentations in turn.
        for view in itertools.islice(itertools.cycle(range(len(names))), 2 * place, 2 * place + 2):
            put.append((put_back(anatomy, pixels[:1], pixels[view + 1 : view + 2]).numpy(), contributions[place, view]))
        if place < routed:
            entered.append(route(anatomy, pixels[:1], pixels[1:]))
    effects, direct = (np.stack(each) for each in zip(*put, strict=True))
    correlation = np.corrcoef(effects.ravel(), direct.ravel())[0, 1]
    same = (effects.argmax(axis=1) == direct.argmax(axis=1)).mean()
    print(f"{len(put)} pairs, heads of block {len(anatomy.layers)} put back: r = {correlation:.2f} with their contributions, "
          f"the same top head in {100 * same:.0f} %")  # fmt: skip
    if not entered:
        return
    off = max(float((each.total - 1).abs().max()) for each in entered)
    print(f"routes of {routed} images: terms add up to 1 within {off:.1e}")
    patterns = torch.stack([each.patterns.sum(dim=2) for each in entered]).mean(dim=0)
    absolute = torch.stack([each.absolute for each in entered]).mean(dim=0)
    for view, name in enumerate(names):
        terms = " ".join(f"{float(term):6.2f}" for term in patterns[view])
        print(f"{name:20} blocks {terms}   absolute sum {float(absolute[view]):.2f}")


if __name__ == "__main__":
    main()
