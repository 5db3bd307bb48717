"""The paper's elastic augmentation: how far it moves a pixel, and how it compares with albumentations' own.

usage: python benchmarks/elastic.py [PHOTO_DIR]

With a folder of photos: in how many pixels its views differ from those of albumentations, and the time of both.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from embedshift.augmentations import load_suite, transforms
from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.changes import grid
from embedshift.augmentations.paper import PAPER, elastic
from embedshift.sources import FolderSource, images

SIZE, VIEWS = 224, 24
ELASTIC = load_suite("paper")["elastic"]


def displacement(seed: int) -> float:
    """Mean over the pixels of one view, by the places that the augmentation draws with its seed."""
    moved = elastic(SIZE, PAPER["elastic"][1]["alpha"], np.random.default_rng(seed)) - grid(SIZE)
    return float(np.linalg.norm(moved, axis=2).mean())


def against_albumentations(folder: Path) -> None:
    kind, settings = PAPER["elastic"]
    theirs = Augmentation("elastic", transforms.make(kind, **settings))
    samples = FolderSource([str(folder)]).samples
    originals = [images.ToInput(SIZE)(images.decode(Path(sample.location).read_bytes())) for sample in samples]
    apart = [
        np.abs(ELASTIC.draw(image, seed).astype(int) - theirs.draw(image, seed)).max(axis=2)
        for seed, image in enumerate(originals)
    ]
    differing = 1e6 * np.mean([(each > 0).mean() for each in apart])
    print(f"{len(originals)} photos: {differing:.1f} of a million pixels differ, by at most {np.max(apart)} level")
    few = originals[:VIEWS]
    seconds: dict[str, list[float]] = {"albumentations": [], "ours": []}
    for _ in range(5):
        seconds["albumentations"].append(took(lambda: [theirs.draw(image, 0) for image in few]))
        seconds["ours"].append(took(lambda: [ELASTIC.draw(image, 0) for image in few]))
    theirs_ms, ours_ms = (1e3 * np.median(each) / len(few) for each in seconds.values())
    print(f"one view: {theirs_ms:.1f} ms of CPU as albumentations draws it, {ours_ms:.1f} ms as it is drawn here")


def took(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path, nargs="?")
    folder = parser.parse_args().folder
    found = [displacement(seed) for seed in range(VIEWS)]
    print(
        f"{VIEWS} views of {SIZE} x {SIZE}: {np.mean(found):.2f} px, per view {min(found):.2f} to {max(found):.2f} px"
    )
    if folder is not None:
        against_albumentations(folder)
