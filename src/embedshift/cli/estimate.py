"""Estimates the cost of a study before its run: images, bytes, and time from a probe."""

import time
from collections.abc import Iterator
from typing import Any

import torch

from embedshift.config.processes import cores
from embedshift.encoders.base import Encoder, EncoderInfo
from embedshift.engines.job import loader_count
from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.prepare import StudyContext
from embedshift.pipeline.records import pair_count
from embedshift.sources import describe_skipped
from embedshift.statistics.baselines import CHUNKS, KEPT

PROBE_IMAGES, PROBE_BATCHES = 4, 3


def estimate(study: StudyContext) -> Iterator[str]:
    samples, plan, encoder = study.samples, study.plan, study.ready.encoder
    images, views, beside, shards = len(samples), 1 + plan.views, plan.beside, len(study.shards)
    if plan.config.until is not None:
        yield f"--until {plan.config.until:g} may end the run earlier; the numbers below are those of all images"
    yield f"images: {images:,}{describe_skipped(plan.source.skipped)}"
    on_files = f", drawn on files of up to {plan.config.longest:,} pixels" if plan.config.apply_to == "file" else ""
    cut = f"in {shards:,} {'shard' if shards == 1 else 'shards'}"
    yield f"views: {views} per image, {images * views:,} in total, {cut}{on_files}"
    if beside:
        yield f"passes: {views + beside} per image, {100 * beside / views:.0f} % more than of its views alone"
    yield f"disk space: about {_size(shard_bytes(encoder, plan, shards))} for shards, plus tables and figures"
    step = max(1, images // PROBE_IMAGES)
    started = time.perf_counter()
    drawn = list(draw_all(Images(samples[::step][:PROBE_IMAGES], plan.source, plan, draw_image), workers=0))
    drawing = (time.perf_counter() - started) / len(drawn)
    good = [image for image in drawn if isinstance(image, DrawnImage)]
    if not good:
        yield "time: unknown, because none of the tested images can be read"
        return
    encoding = _seconds_a_view(encoder, good[0], plan.batch_size) * (views + beside)
    observers = study.ready.observers
    by_question = {each.question: observers[each.question].seconds(each, good[0]) for each in plan.measures}
    added = {question: seconds for question, seconds in by_question.items() if seconds}
    seconds = images * _pace(encoding, drawing, plan, encoder) + sum(added.values())
    words = "".join(f", {duration(question_seconds)} for {question}" for question, question_seconds in added.items())
    pace = f"{encoding:.2f} s to encode an image, {drawing:.2f} s to draw its views"
    yield f"time: about {duration(seconds)} ({pace}{words})"


def shard_bytes(encoder: Encoder, plan: Plan, shards: int) -> float:
    cells = encoder.grid[0] * encoder.grid[1] if encoder.grid else 0
    vectors = encoder.dim + cells if plan.config.store == "all" else 0
    # A single number is twice as long as one in a list; columns of few images count by their fraction.
    per_view, per_image = (
        sum((c.length or 2) * min(1, (c.images or plan.images) / plan.images) for c in plan.columns if c.of in rows)
        for rows in (("views", "all"), ("original",))
    )
    per_view += vectors
    # Numbers of vectors and lists, metrics, and the names of a row; then the names of an image.
    row = 0.92 * 4 * per_view + 7.5 * len(plan.metrics) + 4
    image = (1 + plan.views) * row + 0.92 * 4 * per_image + 80
    # As text, in every shard: float32 shifts for each augmentation, float64 originals, the sums for the baseline, and
    # the metrics of pairs of originals with the positions of both.
    size = -(-plan.images // shards)
    baseline = 4 * size
    if plan.images > KEPT:
        baseline = 4 * -(-KEPT * size // plan.images) + 8 * -(-size // max(1, plan.images // CHUNKS))
    pairs = pair_count(size, plan.images) * (len(plan.metrics) + 2)
    sums = 4 / 3 * (encoder.dim * (4 * len(plan.suite.names) + 8 + baseline) + 8 * pairs)
    frame = 5_000
    return plan.images * image + shards * (sums + frame)


def _seconds_a_view(encoder: Encoder, image: DrawnImage, batch_size: int) -> float:
    views: Any = image.files or image.views
    parts = [views[start : start + batch_size] for start in range(0, len(views), batch_size)]
    encoder(parts[0])
    parts, started = parts[:PROBE_BATCHES], time.perf_counter()
    for part in parts:
        encoder(part)
    return (time.perf_counter() - started) / sum(map(len, parts))


def _pace(encoding: float, drawing: float, plan: Plan, encoder: Encoder) -> float:
    workers = loader_count(plan.config)
    if not workers:
        return encoding + drawing
    on_cores = str(EncoderInfo.of(encoder).device or "cpu").startswith("cpu")
    busy = encoding * (torch.get_num_threads() if on_cores else 1) + drawing
    return max(encoding, drawing / workers, busy / cores())


def _size(count: float) -> str:
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:.{0 if count >= 1e7 else 1 if count >= 1e6 else 2}f} MB"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
