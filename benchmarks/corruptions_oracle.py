"""Our corruptions against those of imagecorruptions-imaug 1.1.5, which runs in an environment of its own.

usage: python benchmarks/corruptions_oracle.py [PHOTOS] [--python PYTHON] [--draws 16] [--only NAME ...]

PYTHON has imagecorruptions-imaug; where it is not given, an environment is made in a temporary folder, by pip. Eight
corruptions are deterministic: their largest difference in grey levels. Of the others the RMS against the original, mean
over images and draws, as a ratio, ours to theirs, ± its standard error over draws. Ends with exit code 1 where the
eight differ by more than one level, or another ratio than those of elastic_transform, frost and fog by more than 5 %.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import arguments, files_in, installed, print_head, print_machine, print_row, read_square
from embedshift.arrays import Pixels, Values
from embedshift.augmentations import Suite, load_suite
from embedshift.augmentations.corruptions import STANDARD
from embedshift.sources.demo import copy_photos

PACKAGE = "imagecorruptions-imaug==1.1.5"
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
DETERMINISTIC = (
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate",
)  # fmt: skip
EXPLAINED = ("elastic_transform", "frost", "fog")
SEVERITIES = range(1, 6)

# Runs there: views of the eight, RMS [severities, images, draws] of the others.
THERE = """
import sys
from pathlib import Path
import imagecorruptions
import numpy as np

given = np.load(sys.argv[1])
originals, draws, deterministic = given["originals"], int(given["draws"]), given["deterministic"].tolist()
found = {"frost_folder": np.array(str(Path(imagecorruptions.__file__).parent / "frost"))}

def view(name, image, severity, draw):
    np.random.seed(draw)
    seed = {"seed": draw} if name in ("glass_blur", "impulse_noise") else {}
    return imagecorruptions.corrupt(image, severity=severity, corruption_name=name, **seed)

def rms(view, image):
    return np.sqrt(((view.astype(float) - image) ** 2).mean())

for name in given["names"].tolist():
    if name in deterministic:
        found[name] = np.array([[view(name, image, s, 0) for image in originals] for s in range(1, 6)])
        continue
    seeds = np.arange(len(originals) * draws).reshape(len(originals), draws)
    found[name] = np.array([
        [[rms(view(name, image, s, d), image) for d in row] for image, row in zip(originals, seeds)]
        for s in range(1, 6)
    ])
np.savez(sys.argv[2], **found)
"""


def main() -> None:
    options = arguments(__doc__, "photos?", python="", draws=16, only=(*STANDARD, *EXTRA))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        files = files_in(options.photos or copy_photos(work / "photos"))
        originals = np.stack([read_square(file, 224) for file in files])
        python = options.python or str(installed(work / "environment", [PACKAGE]))
        theirs = run_there(python, work, originals, options.draws, options.only)
        frost = str(theirs.pop("frost_folder"))
        textures = frost if "frost" in options.only else None
        suite = load_suite("corruptions", families=tuple(options.only), frost_textures=textures)
    print_machine()
    print(f"{PACKAGE}; {len(originals)} images of 224 x 224, {options.draws} draws\n")
    print_head("corruption", "what", *SEVERITIES)
    good = [compared(suite, name, originals, theirs[name]) for name in options.only]
    sys.exit(not all(good))


def compared(suite: Suite, name: str, originals: Pixels, theirs: Values) -> bool:
    """Prints the row of one corruption, and says whether it is within its bound."""
    views = [suite[f"{name}@{severity}"] for severity in SEVERITIES]
    if name in DETERMINISTIC:
        ours = np.array([[view.draw(image, 0) for image in originals] for view in views])
        apart = np.abs(ours.astype(int) - theirs).max(axis=(1, 2, 3, 4))
        print_row(name, "largest difference", *apart)
        return bool((apart <= 1).all())
    # Seeds that were not drawn with there.
    seeds = 1_000_000 + np.arange(theirs[0].size).reshape(theirs[0].shape)
    pairs = list(zip(originals, seeds, strict=True))
    mine = np.array([[[rms(view.draw(image, int(s)), image) for s in row] for image, row in pairs] for view in views])
    ratio = mine.mean(axis=(1, 2)) / theirs.mean(axis=(1, 2))
    error = ratio * np.hypot(spread(mine), spread(theirs))
    cells = [f"{value:.3f} ± {plus:.3f}" for value, plus in zip(ratio, error, strict=True)]
    print_row(name, "RMS, ours / theirs", *cells)
    return name in EXPLAINED or bool((np.abs(ratio - 1) <= 0.05).all())


def run_there(python: str, folder: Path, originals: Pixels, draws: int, names: Sequence[str]) -> dict[str, Values]:
    """What the package makes of the images: see `THERE`."""
    given, found = folder / "given.npz", folder / "found.npz"
    np.savez(given, originals=originals, draws=draws, names=np.array(names), deterministic=np.array(DETERMINISTIC))
    subprocess.run([python, "-W", "ignore", "-c", THERE, str(given), str(found)], check=True)
    with np.load(found) as loaded:
        return dict(loaded)


def rms(view: Pixels, image: Pixels) -> float:
    return float(np.sqrt(((view.astype(float) - image) ** 2).mean()))


def spread(values: Values) -> Values:
    """Relative standard error over draws of the mean over images and draws."""
    _, count, draws = values.shape
    each = values.std(axis=2, ddof=1) / np.sqrt(draws)
    return np.asarray(np.sqrt((each**2).sum(axis=1)) / count / values.mean(axis=(1, 2)))


if __name__ == "__main__":
    main()
