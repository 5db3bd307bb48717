"""The worst change within a budget beside natural ones, and what static purifiers undo, for the bundled encoder.

usage: python benchmarks/attack.py PHOTOS [--every 25] [--steps 50] [--eps 4 8] [--folder DIR]

Of all photos every 25th is attacked. Prints, for each budget in levels of 255, the mean cosine of the better of both
methods and of random signs, their relative shifts, and the cosine after each purifier; and the relative shifts of the
paper's augmentations. DIR keeps what was made, and goes on with it. Ends with exit code 1 where the mean cosine at the
first budget is above 0.1.
"""

import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl

import embedshift
from bench import BUNDLED, arguments, files_in, print_machine
from embedshift.config import make_attack_config
from embedshift.engines.attack import run_attack

MOST, PURIFIERS = 0.1, ("jpeg:50", "median:3", "blur:1", "jpeg:75", "resize:0.75", "bits:4")
COLUMNS = ("augmentation", "n", "mean", "relative_shift", "relative_shift_low", "relative_shift_high")


def main() -> None:
    options = arguments(__doc__, "photos", every=25, steps=50, eps=(4, 8), folder=Path)
    photos = [str(path) for path in files_in(options.photos)[:: options.every]]
    print_machine()
    with tempfile.TemporaryDirectory() as place, pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3):
        folder = options.folder or Path(place)
        adv = folder / "adv"

        def print_measured(name: str, **settings: Any) -> None:
            study = embedshift.run(adv / "original", out=folder / name, model=BUNDLED, **settings)
            print(study.summary().filter(metric="cosine_similarity").select(COLUMNS).sort("mean"), flush=True)

        settings = {"images": photos, "model": BUNDLED, "eps": options.eps, "steps": options.steps, "device": "cpu"}
        found = run_attack(make_attack_config(settings), adv)
        means = {}
        for eps in options.eps:
            names = (f"linf-{eps}", f"control-linf-{eps}")
            means[eps], control = (fmean(image.cosine[name] for image in found.images.values()) for name in names)
            print(f"eps {eps}, {options.steps} steps, {len(photos)} photos: {means[eps]:+.3f}, control {control:+.3f}")
            print_measured(f"pairs-{eps}", pairs=[adv / name for name in names], purify=PURIFIERS)
        print_measured("natural")
    sys.exit(means[options.eps[0]] > MOST)


if __name__ == "__main__":
    main()
