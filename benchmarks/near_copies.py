"""Near-copies in a set: does the report say so, and is the baseline with groups that of the set without them?

usage: python benchmarks/near_copies.py PHOTO_DIR [--photos 40] [--copied 4] [--study DIR]

Some photos, and ten edits of each of a few of them, are measured by the bundled encoder under the paper's nine, or
`--families` of them (ten views of 80 images take two minutes of CPU). The baseline of the photos alone is computed from
the vectors by a loop of its own. Ends with exit code 1 where the report does not speak of near-duplicates, or where the
baseline with the right groups, or with `near`, is more than 0.005 from that of the photos.
"""

import argparse
import collections
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

import embedshift
from duplicates import EDITS
from embedshift.questions.search.section import near_duplicates
from embedshift.statistics.duplicates import components
from embedshift.statistics.vectors import normalised
from embedshift.statistics.whitening import shift_moments
from machine import describe_machine

WITHIN, COPY = 0.005, " copy "


def write_images(photos: Path, folder: Path, count: int, copied: int) -> None:
    """Writes the first photos as PNG, and the edits of the first of them as JPEG or PNG beside them."""
    folder.mkdir()
    for number, path in enumerate(sorted(path for path in photos.iterdir() if path.is_file())[:count]):
        photo = Image.open(path).convert("RGB")
        photo.save(folder / f"{path.stem}.png")
        for name, edit in EDITS.items() if number < copied else ():
            edit(photo).save(folder / f"{path.stem}{COPY}{name.replace('%', 'percent')}.png")


def mean_cosine(vectors: np.ndarray) -> float:
    """The mean over all pairs of two vectors, by a loop."""
    units = [vector / np.sqrt(vector @ vector) for vector in vectors.astype(np.float64)]
    pairs = [units[a] @ units[b] for a in range(len(units)) for b in range(a)]
    return float(np.mean(pairs))


def measured(images: Path, options: argparse.Namespace) -> embedshift.Study:
    """Measures the images, or goes on where a study was stopped, shard by shard."""
    out, families = options.study or images.parent / "study", tuple(options.families)
    return embedshift.run(images, out=out, model="dinov2-small-offline", families=families, shard_size=16, workers=0)


def print_joined(study: embedshift.Study, vectors: np.ndarray, owner: dict[str, str], least: float) -> None:
    """Prints how near copies and photos are, plain and where shifts count less, and what `near` and one rule join."""
    reader, names = study.reader(), [*owner]
    units = dict(zip(reader.ordered_ids(), reader.groups.tolist() if reader.groups is not None else (), strict=True))
    moments = shift_moments(reader.image_rows)
    assert moments is not None
    spaces = [space @ space.T for space in (normalised(vectors), moments.by_shifts()(vectors))]
    print("\n| edit | in the group of its photo | least cosine with it | whitened |\n|---|---|---|---|")
    copies = collections.defaultdict[str, list[tuple[int, int]]](list)
    for position, name in enumerate(names):
        if COPY in name:
            edit = name.partition(COPY)[2].removesuffix(".png")
            copies[edit].append((position, names.index(f"{owner[name]}.png")))
    for edit, pairs in copies.items():
        joined = sum(units[names[copy]] == units[names[photo]] for copy, photo in pairs)
        cells = " | ".join(f"{min(space[pair] for pair in pairs):.3f}" for space in spaces)
        print(f"| {edit} | {joined} of {len(pairs)} | {cells} |")
    others = [(a, b) for a, b in itertools.combinations(range(len(names)), 2) if owner[names[a]] != owner[names[b]]]
    print(
        "| different photos, at most | | "
        + " | ".join(f"{max(space[p] for p in others):.3f}" for space in spaces)
        + " |"
    )
    wrong = sum(units[names[a]] == units[names[b]] for a, b in others)
    print(f"\npairs of different photos in one group: {wrong}")
    print(f"groups by a cosine of {least:.4f} alone: {components(vectors, least).max() + 1}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--copied", type=int, default=4, help="photos that have ten near-copies each")
    parser.add_argument("--families", nargs="+", default=[], help="some of the nine")
    parser.add_argument("--study", type=Path, help="where the study is kept, so that a stopped one goes on")
    options = parser.parse_args()
    started = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        write_images(options.folder, Path(place) / "images", options.photos, options.copied)
        study = measured(Path(place) / "images", options)
        originals = study.rows().filter(pl.col("view") == "original").select("image_id", "embedding").collect()
        owner = {name: name.partition(COPY)[0].removesuffix(".png") for name in originals["image_id"]}
        is_photo = np.array([COPY not in name for name in owner])
        vectors = originals["embedding"].to_numpy()
        alone = mean_cosine(vectors[is_photo])
        print(f"{is_photo.sum()} photos and {(~is_photo).sum()} near-copies of {options.copied} of them\n")
        print("| groups | number | near-duplicates by the report | baseline |\n|---|---|---|---|")
        print(f"| the photos alone | {is_photo.sum()} | - | {alone:.4f} |")
        baselines, said, least = {}, {}, 1.0
        choices: dict[str, str | dict[str, str]] = {"none": "none", "right": owner, "near": "near"}
        for chosen, groups in choices.items():
            study.regroup(groups)
            reader, cosine = study.reader(), study.summary().filter(metric="cosine_similarity")
            near, baselines[chosen] = near_duplicates(reader), cosine["baseline"][0]
            said[chosen] = near["images"] if near else 0
            least = near["least"] if near else least
            count = cosine["groups"][0] or len(owner)
            print(f"| {chosen} | {count} | {said[chosen]} | {baselines[chosen]:.4f} |", flush=True)
        print_joined(study, vectors, owner, least)
        study.regroup("none")
    print(f"\n{time.process_time() - started:.0f} s of CPU; {describe_machine()}")
    far = [chosen for chosen in ("right", "near") if abs(baselines[chosen] - alone) > WITHIN]
    sys.exit(bool(far) or not said["none"])


if __name__ == "__main__":
    main()
