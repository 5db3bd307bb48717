"""Compare two candidates with the encoder that you ship now, and hold rules against them.

    python compare_with_a_gate.py [FOLDER]

The reference is the bundled encoder in float32. One candidate is the same encoder in bfloat16, the other one sees
images of a quarter of the side. The script ends with exit code 3 if a candidate breaks a rule, as `embedshift check`
does. All files are written below FOLDER; the default is build/compare_with_a_gate.
"""

import sys
from pathlib import Path

import albumentations as A

import embedshift
from embedshift.sources.demo import copy_photos

AUGMENTATIONS = {"blur": A.GaussianBlur(p=1), "noise": A.GaussNoise(p=1), "mirrored": A.HorizontalFlip(p=1)}

# What a new encoder may do: the embedding may shift by at most 0.05 more of the way to another image.
RULES = [
    {
        "name": "the shift stays as small as it was",
        "table": "summary",
        "metric": "cosine_similarity",
        "augmentation": ["blur", "noise", "mirrored"],
        "column": "relative_shift",
        "may_rise": 0.05,
    }
]


def measure(photos: Path, out: Path, **settings: object) -> embedshift.Study:
    print(f"Measuring the images in {photos}; the study is {out}.")
    return embedshift.run(photos, out=out, model="dinov2-small-offline", augmentations=AUGMENTATIONS, **settings)


def main(folder: Path) -> int:
    photos = copy_photos(folder / "photos")  # or the path of a folder of yours
    reference = measure(photos, folder / "reference")
    candidates = {
        "bfloat16": measure(photos, folder / "candidate-bfloat16", precision="bfloat16"),
        "quarter-size": measure(photos, folder / "candidate-quarter-size", size=56),
    }

    compared = embedshift.compare([reference, *candidates.values()], out=folder / "comparison")
    print(f"Mean cosine similarity of each study; all tables and figures are in {folder / 'comparison'}.")
    print(compared.side_by_side.filter(metric="cosine_similarity"))

    code = 0
    for name, study in candidates.items():
        checked = embedshift.check(study, RULES, against=reference)
        print(f"{name}: {checked.outcome}")
        for result in checked.results:
            print(f"  {result.place}: {result.outcome}, {result.value:+.3f} [{result.low:+.3f} to {result.high:+.3f}]")
        if not checked.passes():
            code = 3
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/compare_with_a_gate")))
