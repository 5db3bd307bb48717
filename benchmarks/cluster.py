"""How well the engine `ray` shares a study among workers, what the driver does for a shard, and which cluster it feeds.

usage: python benchmarks/cluster.py [--workers 1 2 4 8] [--rounds 8] [--images 64] [--times 20]

An encoder computes nothing and sleeps `times` as long as drawing its shard takes of the CPU, so that cores stay free.
Each worker is a raylet of one core on this machine. They begin one after the other within the time of a shard, since
the cores of one machine could not draw for all at once. Time counts from the moment when all have loaded their
encoder until the last shard is done, without these waits. Shards are as many for each worker, and cost the same.
"""

import logging
import os
import pickle
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
from PIL import Image
from ray.cluster_utils import Cluster

import embedshift
from bench import arguments, print_machine
from embedshift.encoders import EncoderOutput
from embedshift.store.shards import shard_path

DIM, SIDE, VIEWS = 512, 64, 10


class Sleeper:
    """Waits at its first shard until all workers are there; writes the CPU time of its process after each shard."""

    name, dim, size, weights_hash = "sleeper", DIM, SIDE, "none"
    grid: tuple[int, int] | None = (7, 7)
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, folder: Path, workers: int, images: int, seconds: float) -> None:
        self.folder, self.workers, self.views, self.seconds = folder, workers, images * VIEWS, seconds
        self.driver, self.started = os.getpid(), False
        self.ended: list[float] = []

    def __call__(self, views: np.ndarray) -> EncoderOutput:
        if len(views) == self.views:
            if not self.started and os.getpid() != self.driver:
                self.started = True
                (self.folder / f"{os.getpid()}.start").write_text(str(time.process_time()))
                while len([*self.folder.glob("*.start")]) < self.workers:
                    time.sleep(0.005)
                before = sorted(self.folder.glob("*.start")).index(self.folder / f"{os.getpid()}.start")
                time.sleep(self.seconds * before / self.workers)
            time.sleep(self.seconds)
            self.ended.append(time.process_time())
            (self.folder / f"{os.getpid()}.end").write_text(str(self.ended[-1]))
        means = views.reshape(len(views), -1)[:, :DIM].astype(np.float32) + 1
        return EncoderOutput(means, np.full((len(views), 7, 7), 1 / 49, np.float32), "cls")


@contextmanager
def raylets(count: int) -> Iterator[None]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(count):
        cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def photographs(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((320, 240)).save(folder / f"{number:06}.jpg")
    return folder


def drawing(photos: Path, images: int, folder: Path) -> float:
    """Seconds of CPU of this process from one shard to the next, of which only the first imports anything."""
    encoder, shards = Sleeper(folder, 0, images, 0), 5
    settings: Any = {"workers": 0, "batch_size": images * VIEWS, "shard_size": images, "limit": shards * images}
    embedshift.run(photos, out=folder / "drawn", model=encoder, **settings)
    return (encoder.ended[-1] - encoder.ended[1]) / (len(encoder.ended) - 2)


def shared(photos: Path, workers: int, shards: int, images: int, seconds: float, folder: Path) -> dict[str, float]:
    folder.mkdir()
    out, found = folder / "study", dict[str, float]()

    def look() -> None:
        while len([*folder.glob("*.start")]) < workers:
            time.sleep(0.005)
        found["began"], found["driver"] = time.time(), time.thread_time() - time.process_time()
        found["cpu"] = -sum(float(path.read_text()) for path in folder.glob("*.start"))
        while len([*(out / "shards").glob("part-*")]) < shards:
            time.sleep(0.01)
        found["driver"] += time.process_time() - time.thread_time()  # without this thread

    watcher = threading.Thread(target=look)
    watcher.start()
    settings: Any = {"workers": 0, "batch_size": images * VIEWS, "shard_size": images}
    with raylets(workers):
        model = Sleeper(folder, workers, images, seconds)
        study = embedshift.run(photos, out=out, engine="ray", model=model, limit=shards * images, **settings)
    watcher.join()
    records = study.reader().records
    found["cpu"] += sum(float(path.read_text()) for path in folder.glob("*.end"))
    found["seconds"] = max(record.written for record in records) - found["began"] - seconds * (workers - 1) / workers
    found["bytes"] = shard_path(out, 0).stat().st_size
    return found


def main() -> None:
    options = arguments(__doc__, workers=(1, 2, 4, 8), rounds=8, images=64, times=20)
    logging.disable(logging.WARNING)
    shards = options.rounds * max(options.workers)
    with tempfile.TemporaryDirectory() as scratch:
        folder, images = Path(scratch), options.images
        photos = photographs(folder / "photos", shards * images)
        draws = drawing(photos, images, folder)
        seconds = options.times * draws
        print(f"{shards} shards of {images} images, {VIEWS} views each; drawing a shard {draws:.3f} s of CPU")
        rate = 0.0  # of one worker, on the fewest
        for workers in sorted(options.workers):
            found = shared(photos, workers, shards, images, seconds, folder / str(workers))
            driver = found["driver"] / shards
            rate = rate or shards / found["seconds"] / workers
            efficiency = shards / found["seconds"] / workers / rate
            print(
                f"{workers} workers: {found['seconds']:.1f} s, efficiency {efficiency:.1%}; CPU of workers "
                f"{found['cpu']:.1f} s, of the driver {found['driver']:.2f} s ({1000 * driver:.1f} ms a shard, whose "
                f"file has {found['bytes'] / 1e6:.2f} MB); it can feed {1 / driver * images:,.0f} images a second",
                flush=True,
            )
        sent = embedshift.sources.split(embedshift.sources.open_source([str(photos)]).samples, images)[0]
        print(f"to a worker for each shard: {len(pickle.dumps(sent)):,} bytes")
    print_machine()


if __name__ == "__main__":
    main()
