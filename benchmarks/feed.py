"""What the pipeline feeds an encoder that costs nothing: images a second by loader processes, and where the time goes.

usage: python benchmarks/feed.py FOLDER [--images 800] [--loaders 1 2] [--repeats 3] [--against COMMIT]

Ten views an image, embeddings of 512 numbers, attention of 7 x 7 and 16 x 16, the metrics of a study by default; the
images of a folder again and again under other names. From it: how many cores one GPU of so many views a second needs.
Stages are by the clock on the wall: with more processes than cores they count the waiting for a core too.
`--against` measures an earlier commit of this repository in turns with this one (A-B-A-B), by its own sources.
"""

import contextlib
import inspect
import json
import logging
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import bench
import embedshift
from embedshift.arrays import Pixels
from embedshift.encoders import EncoderOutput

DIM, VIEWS, BATCH = 512, 10, 40
GRIDS = (7, 16)
GPUS = (1_000, 3_000, 10_000, 30_000)
LOADING, MAIN = ("read", "decode", "draw", "pixels"), ("stack", "measure")


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
    options = bench.arguments(__doc__, "folder", images=800, loaders=(1, 2), repeats=3, against="", side=0)
    if options.side:  # one study, in a process of its own
        json.dump(fed(options.folder, options.loaders[0], options.side), sys.stdout)
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        photos, sources = Path(folder) / "photos", {"now": bench.ROOT}
        bench.repeated(options.folder, options.images, photos)
        if options.against:
            earlier = stack.enter_context(bench.checked_out(options.against, Path(folder) / "earlier"))
            sources = {options.against: earlier, **sources}
        for side in GRIDS:
            for loaders in options.loaders:
                rounds = [
                    {name: in_turn(root, photos, loaders, side) for name, root in sources.items()}
                    for _ in range(options.repeats)
                ]
                for name in sources:
                    title = f"{name}, attention {side} x {side}, {loaders} loaders"
                    last = shown(title, [each[name] for each in rounds])
                for words, number in (("images a second", "rate"), ("images a second a core", "of a core")):
                    if options.against:
                        of_rounds = [{name: each[name][number] for name in sources} for each in rounds]
                        print(f"    {words}: {bench.ratios(of_rounds, 'now', options.against)} times", flush=True)
    bench.print_machine()
    print(f"{options.images} images, {VIEWS} views each, batches of {BATCH}, {options.repeats} rounds; ms of CPU\n")
    bench.print_head("views a second of one GPU", "loader cores", "fraction of a core, main process")
    for views in GPUS:
        bench.print_row(f"{views:,}", *(f"{views / VIEWS * last[name] / 1e3:.2f}" for name in ("loaders", "main")))


def in_turn(root: Path, photos: Path, loaders: int, side: int) -> dict[str, float]:
    """`fed` by the sources of a commit."""
    paths = os.pathsep.join([str(root / "src"), str(Path(__file__).parent)])
    found: dict[str, float] = bench.in_a_process(
        __file__, photos, "--loaders", loaders, "--side", side, PYTHONPATH=paths
    )
    return found


def fed(photos: Path, loaders: int, side: int) -> dict[str, float]:
    """Images a second from the first to the last, and milliseconds of CPU an image, by process and by stage."""
    logging.disable(logging.WARNING)
    seen: list[tuple[float, float]] = []
    settings: dict[str, Any] = {"workers": loaders, "batch_size": BATCH, "model": Free(side)}
    if "allow_unstable" in inspect.signature(embedshift.run).parameters:  # an earlier commit has not
        settings["allow_unstable"] = True

    def progress(_: int) -> None:
        seen.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        study = embedshift.run(photos, out=Path(folder) / "study", progress=progress, **settings)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        stages = study.info()["seconds"]
    images, (first, start), (last, end) = len(seen), seen[0], seen[-1]
    stages |= {"stack": stages["encode"]}
    main, of_loaders = (end - start) / (images - 1), (children.ru_utime + children.ru_stime) / images
    found = {"rate": (images - 1) / (last - first), "of a core": 1 / (main + of_loaders)}
    found |= {"main": 1e3 * main, "loaders": 1e3 * of_loaders}
    return found | {stage: 1e3 * stages.get(stage, 0.0) / images for stage in (*LOADING, *MAIN)}


def shown(title: str, rounds: list[dict[str, float]]) -> dict[str, float]:
    """Prints the medians, and gives them."""
    middle = {name: median(each[name] for each in rounds) for name in rounds[0]}
    print(f"{title}: {bench.spread([each['rate'] for each in rounds], 1)} images/s")
    of_loaders, of_main = (", ".join(f"{stage} {middle[stage]:.2f}" for stage in part) for part in (LOADING, MAIN))
    rest = max(0.0, middle["main"] - sum(middle[stage] for stage in MAIN))
    print(f"    loaders {middle['loaders']:.2f} ms: {of_loaders}")
    print(f"    main process {middle['main']:.2f} ms: {of_main}, to write, to take and all else {rest:.2f}", flush=True)
    return middle


if __name__ == "__main__":
    main()
