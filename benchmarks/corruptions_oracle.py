"""Our corruptions against those of imagecorruptions-imaug 1.1.5, which runs in an environment of its own.

usage: python benchmarks/corruptions_oracle.py [PHOTO_DIR] [--python PYTHON] [--draws 16] [--only NAME,NAME]

PYTHON has imagecorruptions-imaug; where it is not given, an environment is made in a temporary folder, by pip. Eight
corruptions are deterministic: their largest difference in grey levels. Of the others the RMS against the original, mean
over images and draws, as a ratio, ours to theirs, ± its standard error over draws. Ends with exit code 1 where the
eight differ by more than one level, or another ratio than those of elastic_transform, frost and fog by more than 5 %.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import Suite, load_suite
from embedshift.augmentations.corruptions import STANDARD
from embedshift.sources import images, open_source
from embedshift.sources.demo import copy_photos
from machine import describe_machine

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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path, nargs="?")
    parser.add_argument("--python", help=f"with {PACKAGE}")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=(*STANDARD, *EXTRA))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        originals = read(options.folder or copy_photos(work / "photos"))
        theirs = run_there(options.python or environment(work), work, originals, options.draws, options.only)
        frost = str(theirs.pop("frost_folder"))
        textures = frost if "frost" in options.only else None
        suite = load_suite("corruptions", families=options.only, frost_textures=textures)
    print(describe_machine())
    print(f"{PACKAGE}; {len(originals)} images of 224 x 224, {options.draws} draws\n")
    print("| corruption | what | 1 | 2 | 3 | 4 | 5 |\n|---|---|---|---|---|---|---|")
    good = [compared(suite, name, originals, theirs[name]) for name in options.only]
    sys.exit(0 if all(good) else 1)


def compared(suite: Suite, name: str, originals: Pixels, theirs: Values) -> bool:
    """Prints the row of one corruption, and says whether it is within its bound."""
    views = [suite[f"{name}@{severity}"] for severity in SEVERITIES]
    if name in DETERMINISTIC:
        ours = np.array([[view.draw(image, 0) for image in originals] for view in views])
        apart = np.abs(ours.astype(int) - theirs).max(axis=(1, 2, 3, 4))
        print(f"| {name} | largest difference | " + " | ".join(map(str, apart)) + " |")
        return bool((apart <= 1).all())
    # Seeds that were not drawn with there.
    seeds = 1_000_000 + np.arange(theirs[0].size).reshape(theirs[0].shape)
    pairs = list(zip(originals, seeds, strict=True))
    mine = np.array([[[rms(view.draw(image, int(s)), image) for s in row] for image, row in pairs] for view in views])
    ratio = mine.mean(axis=(1, 2)) / theirs.mean(axis=(1, 2))
    error = ratio * np.hypot(spread(mine), spread(theirs))
    cells = [f"{value:.3f} ± {plus:.3f}" for value, plus in zip(ratio, error, strict=True)]
    print(f"| {name} | RMS, ours / theirs | " + " | ".join(cells) + " |")
    return name in EXPLAINED or bool((np.abs(ratio - 1) <= 0.05).all())


def read(folder: Path) -> Pixels:
    """The images of a folder, squashed to 224 x 224."""
    source = open_source([str(folder)])
    return np.stack([images.ToInput(224)(images.decode(source.read(sample))) for sample in source.samples])


def environment(folder: Path) -> str:
    """The Python of a new environment with the package."""
    venv.create(folder / "environment", with_pip=True)
    python = str(folder / "environment" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    return python


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
