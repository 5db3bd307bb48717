"""Which part of the effect of a shift is its place on the bundled encoder's grid of patches.

usage: python benchmarks/phase.py PHOTOS [--count 40]

Shifts every photo at the encoder's size along both axes by whole pixels, so that no interpolation blurs it, with
reflected borders, and prints the mean relative shift at some lengths: at that length alone, and over the phases that
the suite `strength` draws around it, from half a patch less to half a patch more, at most half of the length.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike

import embedshift
from embedshift.arrays import Pixels, Values
from embedshift.augmentations.changes import grid, sampled
from embedshift.augmentations.strength import PHASE
from embedshift.sources import FolderSource, images
from machine import describe_machine

LENGTHS = (1, 4, 7, 10, 14, 21, 28)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--count", type=int, default=40, help="photos, at most")
    options = parser.parse_args()
    encoder = embedshift.load_encoder("dinov2-small-offline")
    source = FolderSource([str(options.photos)])
    decoded = [images.decode(source.read(photo)) for photo in source.samples[: options.count]]
    photos = [images.ToInput(encoder.size, "squash")(photo) for photo in decoded]
    half = round(PHASE * encoder.size / 2)
    shifts = range(LENGTHS[-1] + half)
    units = np.stack([unit_rows(encoder(np.stack([shifted(photo, s) for s in shifts])).embedding) for photo in photos])
    originals = units[:, 0]
    baseline = (1.0 - originals @ originals.T)[~np.eye(len(photos), dtype=bool)].mean()
    moved = (1.0 - np.einsum("if,isf->is", originals, units)).mean(axis=0) / baseline
    print(describe_machine())
    print(f"{encoder.name}, {len(photos)} photos of {encoder.size} pixels, baseline {1 - baseline:.3f}")
    print("| shift along both axes, px | relative shift | mean over phases |\n|---|---|---|")
    for length in LENGTHS:
        off = min(half, length // 2)
        window = moved[length - off : length + off + (off < half)]  # one patch has no second end
        print(f"| {length} | {moved[length]:.3f} | {window.mean():.3f} |")


def shifted(photo: Pixels, pixels: int) -> Pixels:
    return np.asarray(sampled(photo, grid(len(photo)) - np.float32(pixels), cv2.BORDER_REFLECT_101), np.uint8)


def unit_rows(vectors: ArrayLike) -> Values:
    values = np.asarray(vectors, np.float64)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
