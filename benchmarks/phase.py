"""Which part of the effect of a shift is its place on the bundled encoder's grid of patches.

usage: python benchmarks/phase.py PHOTOS [--count 40]

Shifts every photo at the encoder's size along both axes by whole pixels, so that no interpolation blurs it, with
reflected borders, and prints the mean relative shift at some lengths: at that length alone, and over the phases that
the suite `strength` draws around it, from half a patch less to half a patch more, at most half of the length.
"""

import cv2
import numpy as np

import embedshift
from bench import BUNDLED, arguments, files_in, print_head, print_machine, print_row, read_square
from embedshift.arrays import Pixels
from embedshift.augmentations.changes import grid, sampled
from embedshift.augmentations.strength import PHASE
from embedshift.statistics.vectors import normalised

LENGTHS = (1, 4, 7, 10, 14, 21, 28)


def shifted(photo: Pixels, pixels: int) -> Pixels:
    return np.asarray(sampled(photo, grid(len(photo)) - np.float32(pixels), cv2.BORDER_REFLECT_101), np.uint8)


def main() -> None:
    options = arguments(__doc__, "photos", count=40)
    encoder = embedshift.load_encoder(BUNDLED)
    photos = [read_square(file, encoder.size) for file in files_in(options.photos, options.count)]
    half = round(PHASE * encoder.size / 2)
    shifts = range(LENGTHS[-1] + half)
    views = (np.stack([shifted(photo, pixels) for pixels in shifts]) for photo in photos)
    units = np.stack([normalised(encoder(each).embedding.astype(np.float64)) for each in views])
    originals = units[:, 0]
    baseline = (1.0 - originals @ originals.T)[~np.eye(len(photos), dtype=bool)].mean()
    moved = (1.0 - np.einsum("if,isf->is", originals, units)).mean(axis=0) / baseline
    print_machine()
    print(f"{encoder.name}, {len(photos)} photos of {encoder.size} pixels, baseline {1 - baseline:.3f}")
    print_head("shift along both axes, px", "relative shift", "mean over phases")
    for length in LENGTHS:
        off = min(half, length // 2)
        window = moved[length - off : length + off + (off < half)]  # one patch has no second end
        print_row(length, f"{moved[length]:.3f}", f"{window.mean():.3f}")


if __name__ == "__main__":
    main()
