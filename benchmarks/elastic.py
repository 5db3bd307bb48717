"""How far the paper's elastic augmentation moves a pixel: mean length of its displacement maps, in pixels.

usage: python benchmarks/elastic.py
"""

import numpy as np

from embedshift.augmentations import load_suite

SIZE, VIEWS = 224, 24


def displacement(seed: int) -> float:
    """Mean over the pixels of one view, by the maps that the transform draws with its seed."""
    transform = load_suite("paper")["elastic"].transform
    transform.set_random_seed(seed)
    maps = transform.get_params_dependent_on_data({"shape": (SIZE, SIZE, 3)}, {})
    y, x = np.mgrid[:SIZE, :SIZE]
    return float(np.hypot(maps["map_x"] - x, maps["map_y"] - y).mean())


if __name__ == "__main__":
    found = [displacement(seed) for seed in range(VIEWS)]
    print(
        f"{VIEWS} views of {SIZE} x {SIZE}: {np.mean(found):.2f} px, per view {min(found):.2f} to {max(found):.2f} px"
    )
