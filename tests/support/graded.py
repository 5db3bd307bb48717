"""Columns that a made study has where augmentations stand in families, and families for tests."""

import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from embedshift.arrays import Pixels
from embedshift.augmentations import Augmentation, Suite, load_suite
from embedshift.augmentations.changes import Tones
from embedshift.augmentations.family import FAMILIES, Family
from embedshift.augmentations.views import view_seed

STRENGTH_METRICS = ("rms", "dissimilarity", "displacement", "hidden")


@functools.cache
def paper() -> Suite:
    """The paper's suite, which every made study describes."""
    return load_suite("paper")


def darker(image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
    """Less light, the more the higher the parameter."""
    return np.asarray(image * (1 - 0.15 * parameter), np.uint8)


def smaller(image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
    """The middle of the image, as large as the image."""
    side = len(image)
    rim = round(side * (1 - parameter) / 2)
    return np.asarray(cv2.resize(image[rim : side - rim, rim : side - rim], (side, side)), np.uint8)


DARKER = Family("darker", "strength", Tones(darker), "stops", 0.0, (1.0, 2.0, 3.0, 4.0, 5.0))
CLOSER = Family("closer", "strength", Tones(smaller), "fraction of the side kept", 1.0, (0.9, 0.75, 0.5, 0.35, 0.25))
ONCE = Family("once", "strength", Tones(darker), "", 0.0, (1.0,))
MADE = (DARKER, CLOSER, ONCE)


def corruption(name: str) -> Family:
    """A corruption of that name, but for its views."""
    return Family(name, "corruptions", Tones(darker), "severity", 0, (1, 2, 3, 4, 5), integer=True, published=True)


def graded(*families: Family) -> list[Augmentation]:
    """The views of some families."""
    return [view for family in families for view in family.augmentations()]


def default_strength(view: Augmentation) -> float:
    """How far a made view moves where nothing else is asked: further at every level."""
    assert view.level is not None
    return 0.1 * 1.7**view.level.number


def register(monkeypatch: Any, *families: Family) -> None:
    """Makes families known, so that their views can be drawn again."""
    for family in families:
        if family.name not in FAMILIES:
            monkeypatch.setitem(FAMILIES._entries, family.name, family)


def with_grades(
    table: pa.Table, views: Sequence[Augmentation], draws: int, seed: int, rng: np.random.Generator
) -> pa.Table:
    """A shard's rows with the places in the families, numbers that rise with the level, and a family's own seeds."""
    rows = 1 + len(views) * draws
    images = table.num_rows // rows
    levels = [None, *[view.level for view in views] * draws] * images
    columns = (
        ("family", "family", pa.string()),
        ("level", "number", pa.int32()),
        ("parameter", "parameter", pa.float64()),
    )
    for name, field, kind in columns:
        table = table.append_column(name, pa.array([level and getattr(level, field) for level in levels], kind))
    for name in STRENGTH_METRICS:
        values = [level and level.number * 0.05 * rng.uniform(0.8, 1.2) for level in levels]
        table = table.append_column(name, pa.array(values, pa.float64()))
    ids = table["image_id"].to_pylist()[::rows]
    own = [(view.seed_name, draw) for draw in range(draws) for view in views]
    seeds = [each for i in ids for each in (0, *(view_seed(seed, i, name, draw) for name, draw in own))]
    return table.set_column(table.column_names.index("view_seed"), "view_seed", pa.array(seeds, pa.int64()))
