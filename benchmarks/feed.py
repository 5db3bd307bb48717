"""What the pipeline feeds an encoder that costs nothing: images a second by loader processes, and where the time goes.

usage: python benchmarks/feed.py PHOTO_DIR [--images 800] [--loaders 1 2] [--repeats 3] [--against COMMIT]

Ten views an image, embeddings of 512 numbers, attention of 7 x 7 and 16 x 16, the metrics of a study by default; the
images of a folder again and again under other names. From it: how many cores one GPU of so many views a second needs.
Stages are by the clock on the wall: with more processes than cores they count the waiting for a core too.
`--against` measures an earlier commit of this repository in turns with this one (A-B-A-B), by its own sources.
"""

import argparse
import contextlib
import importlib
import inspect
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import embedshift
from embedshift.arrays import Pixels
from embedshift.encoders import EncoderOutput
from embedshift.store.shards import write_shard
from machine import describe_machine

ROOT = Path(__file__).parents[1]
DIM, VIEWS, BATCH = 512, 10, 40
GRIDS = (7, 16)
GPUS = (1_000, 3_000, 10_000, 30_000)
LOADING, MAIN = ("read", "decode", "draw", "pixels"), ("stack", "measure", "write")


class Free:
    """An encoder that costs nothing: its outputs are made before."""

    name, size, weights_hash = "free", 224, "free"
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, side: int) -> None:
        rng = np.random.default_rng(0)
        self.dim, self.grid = DIM, (side, side)
        self._embedding = rng.standard_normal((BATCH, DIM), dtype=np.float32)
        weights = rng.random((BATCH, side, side), dtype=np.float32)
        self._attention = weights / weights.sum(axis=(1, 2), keepdims=True)

    def __call__(self, views: Pixels) -> EncoderOutput:
        """The same for whatever views."""
        return EncoderOutput(self._embedding[: len(views)], self._attention[: len(views)], "cls")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--loaders", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(fed(options.folder, *options.child)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        named_anew(options.folder, options.images, photos)
        sources = {"now": ROOT / "src"}
        if options.against:
            sources = {options.against: earlier(options.against, Path(scratch) / "earlier"), **sources}
        last: dict[str, float] = {}
        for side in GRIDS:
            for loaders in options.loaders:
                rounds = [
                    {name: in_a_process(source, photos, loaders, side) for name, source in sources.items()}
                    for _ in range(options.repeats)
                ]
                for name in sources:
                    last = shown(f"{name}, attention {side} x {side}", loaders, [each[name] for each in rounds])
                if options.against:
                    ratios = [each["now"]["rate"] / each[options.against]["rate"] for each in rounds]
                    cpu = [each[options.against]["all"] / each["now"]["all"] for each in rounds]
                    for words, found in (("images a second", ratios), ("images a second a core", cpu)):
                        middle = statistics.median(found)
                        print(f"    {words}: {middle:.2f} times ({min(found):.2f} to {max(found):.2f})", flush=True)
    print(describe_machine())
    print(
        f"{options.images} images, {VIEWS} views each, batches of {BATCH}, {options.repeats} rounds; ms of CPU an image"
    )
    print("views a second of one GPU   loader cores   fraction of a core, main process")
    for views in GPUS:
        images = views / VIEWS
        print(f"{views:>25,}   {images * last['loaders'] / 1e3:12.1f}   {images * last['main'] / 1e3:12.2f}")


def fed(photos: Path, loaders: int, side: int) -> dict[str, float]:
    """Images a second from the first to the last, and milliseconds of CPU an image, by process and by stage."""
    logging.disable(logging.WARNING)
    seen: list[tuple[float, float]] = []

    def progress(_: int) -> None:
        seen.append((time.perf_counter(), time.process_time()))

    written = timed_writing()
    settings: dict[str, Any] = {"workers": loaders, "batch_size": BATCH, "model": Free(side)}
    if "allow_unstable" in inspect.signature(embedshift.run).parameters:  # an earlier commit has not
        settings["allow_unstable"] = True
    with tempfile.TemporaryDirectory() as folder:
        study = embedshift.run(photos, out=Path(folder) / "study", progress=progress, **settings)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = study.info()["seconds"]
    images, (first, start), (last, end) = len(seen), seen[0], seen[-1]
    found = {
        "rate": (images - 1) / (last - first),
        "main": 1e3 * (end - start) / (images - 1),
        "loaders": 1e3 * (children.ru_utime + children.ru_stime) / images,
    }
    seconds |= {"stack": seconds["encode"], "write": sum(written)}
    stages = {stage: 1e3 * seconds.get(stage, 0.0) / images for stage in (*LOADING, *MAIN)}
    return {**found, "all": found["main"] + found["loaders"], **stages}


def timed_writing() -> list[float]:
    """Seconds of CPU that each shard takes to be written, from now on."""
    took: list[float] = []

    def timed(*arguments: Any) -> None:
        started = time.thread_time()
        write_shard(*arguments)
        took.append(time.thread_time() - started)

    for name in ("embedshift.store.shards", "embedshift.store.writer"):  # an earlier commit has no writer
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name).__dict__["write_shard"] = timed
    return took


def in_a_process(source: Path, photos: Path, loaders: int, side: int) -> dict[str, float]:
    """`fed` by the sources of a commit."""
    command = [sys.executable, __file__, str(photos), "--child", str(loaders), str(side)]
    paths = os.pathsep.join([str(source), str(Path(__file__).parent)])
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def shown(title: str, loaders: int, rounds: list[dict[str, float]]) -> dict[str, float]:
    """Prints the medians, and gives them."""
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    rates = [each["rate"] for each in rounds]
    print(f"{title}, {loaders} loaders: {middle['rate']:.1f} images/s ({min(rates):.1f} to {max(rates):.1f})")
    of_loaders = ", ".join(f"{stage} {middle[stage]:.2f}" for stage in LOADING)
    of_main = ", ".join(f"{stage} {middle[stage]:.2f}" for stage in MAIN)
    rest = max(0.0, middle["main"] - sum(middle[stage] for stage in MAIN))
    print(f"    loaders {middle['loaders']:.2f} ms: {of_loaders}")
    print(f"    main process {middle['main']:.2f} ms: {of_main}, to take and all else {rest:.2f}", flush=True)
    return middle


def named_anew(folder: Path, count: int, into: Path) -> None:
    """Links to the images of a folder, again and again under other names, until there are enough."""
    found = sorted(path.resolve() for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    into.mkdir(parents=True)
    for number in range(count):
        path = found[number % len(found)]
        (into / f"{number:06d}{path.suffix}").symlink_to(path)


def earlier(commit: str, into: Path) -> Path:
    """The sources of a commit of this repository."""
    into.mkdir()
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit, "src"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(into)], check=True, input=packed)
    return into / "src"


if __name__ == "__main__":
    main()
