"""The worst change within a budget beside natural ones, and what static purifiers undo, for the bundled encoder.

usage: python benchmarks/attack.py PHOTOS [--every 25] [--short] [--folder DIR]

Of all photos every 25th is attacked. Prints, over these: the mean cosine of PGD and APGD at 10 and 50 steps and of
random signs, within 1, 4 and 8 levels; the better of both at 4 levels and 50 steps, and its relative shift beside those
of the paper's augmentations; and the cosine after each purifier. With --short, 4 levels and 50 steps alone. Ends with
exit code 1 where the mean cosine at 4 levels and 50 steps is above 0.1.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl
from torch import Tensor

import embedshift
from embedshift.config import make_attack_config
from embedshift.encoders import attack
from embedshift.encoders.attack import Budget, as_picture, as_pixels
from embedshift.engines.attack import run_attack
from machine import describe_machine

MODEL, MOST = "dinov2-small-offline", 0.1
PURIFIERS = ("jpeg:50", "median:3", "blur:1", "jpeg:75", "resize:0.75", "bits:4")

# Budgets in levels, and steps; the first is what must be low enough.
STAGES = ((4, 50), (8, 50), (1, 10), (4, 10), (8, 10), (1, 50))
# Method → cosines, of pictures of whole levels.
Cosines = dict[str, list[float]]


def noted(name: str, method: Any, cosines: Cosines) -> Any:
    """A method that notes what it reaches."""

    def run(loss: Any, start: Tensor, original: Tensor, budget: Budget, steps: int) -> Tensor:
        found: Tensor = method(loss, start, original, budget, steps)
        whole = budget.rounded(as_picture(found), as_picture(original).astype("uint8"))
        cosines.setdefault(name, []).append(float(loss(as_pixels(whole)).detach()))
        return found

    return run


def attacked(photos: Sequence[str], out: Path, eps: int, steps: int, cosines: Cosines) -> dict[str, float]:
    """Folder → mean cosine of the better of both methods; prints it, and that of each method."""
    started, cpu = time.monotonic(), time.process_time()
    settings = {"images": photos, "model": MODEL, "eps": [eps], "steps": steps, "device": "cpu"}
    found = run_attack(make_attack_config(settings), out)
    seconds, used = time.monotonic() - started, time.process_time() - cpu
    names = [f"linf-{eps}", f"control-linf-{eps}"]
    means = {name: fmean(image.cosine[name] for image in found.images.values()) for name in names}
    every = {name: fmean(values) for name, values in cosines.items()} | means
    said = ", ".join(f"{name} {value:+.3f}" for name, value in every.items())
    print(f"eps {eps}, {steps} steps, {len(photos)} photos: {said} ({seconds:.0f} s, {used:.0f} CPU s)", flush=True)
    return means if steps == 50 else {}


def measured(originals: Path, out: Path, **settings: Any) -> pl.DataFrame:
    """Augmentation, mean cosine and relative shift of a study, with its interval."""
    study = embedshift.run(originals, out=out, model=MODEL, **settings)
    table = study.summary().filter(metric="cosine_similarity")
    return table.select(
        "augmentation", "n", "mean", "relative_shift", "relative_shift_low", "relative_shift_high"
    ).sort("mean")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--folder", type=Path, help="keeps what was made, and goes on with it")
    options = parser.parse_args()
    photos = [str(path) for path in sorted(options.photos.glob("*.*"))[:: options.every]]
    methods = dict(attack.METHODS)
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as place, pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3):
        folder = Path(place) if options.folder is None else options.folder
        best: dict[str, float] = {}
        for eps, steps in STAGES[:1] if options.short else STAGES:
            adv = folder / f"adv-{steps}"
            cosines: Cosines = {}
            attack.METHODS |= {name: noted(name, method, cosines) for name, method in methods.items()}
            best |= attacked(photos, adv, eps, steps, cosines)
            if steps == 50 and eps > 1:
                pairs = [adv / f"linf-{eps}", adv / f"control-linf-{eps}"]
                print(measured(adv / "original", folder / f"pairs-{eps}", pairs=pairs, purify=PURIFIERS), flush=True)
            if eps == 4 and steps == 50:
                print(measured(adv / "original", folder / "natural"), flush=True)
    sys.exit(0 if best["linf-4"] <= MOST else 1)


if __name__ == "__main__":
    main()
