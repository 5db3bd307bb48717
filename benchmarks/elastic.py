"""How far the paper's elastic augmentation moves a pixel: mean length of its displacement maps, in pixels.

usage: python benchmarks/elastic.py
"""

import numpy as np

from embedshift.augmentations import load_suite
from embedshift.augmentations.changes import grid

SIZE, VIEWS = 224, 24


def displacement(seed: int) -> float:
    """Mean over the pixels of one view, by the places that the augmentation draws with its seed."""
    geometry = load_suite("paper")["elastic"].geometry(np.zeros((SIZE, SIZE, 3), np.uint8), seed)
    assert geometry is not None
    assert geometry.source is not None
    return float(np.linalg.norm(geometry.source - grid(SIZE), axis=2).mean())


if __name__ == "__main__":
    found = [displacement(seed) for seed in range(VIEWS)]
    print(
        f"{VIEWS} views of {SIZE} x {SIZE}: {np.mean(found):.2f} px, per view {min(found):.2f} to {max(found):.2f} px"
    )
