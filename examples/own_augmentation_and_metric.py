"""Measure augmentations of your own, and compute a metric of your own from the stored embeddings.

    python own_augmentation_and_metric.py [FOLDER]

All files are written below FOLDER; the default is build/own_augmentation_and_metric.
"""

import sys
from pathlib import Path

import albumentations as A
import numpy as np
import polars as pl

import embedshift
from embedshift.sources.demo import copy_photos


def fog(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fade the image to grey. An augmentation takes uint8 [S, S, 3] and draws only from `rng`."""
    amount = rng.uniform(0.4, 0.6)
    return np.round((1 - amount) * image + amount * 200).astype(np.uint8)


def angles(study: embedshift.Study) -> pl.DataFrame:
    """My own metric: the angle in degrees between the embeddings of an image and of its view."""
    rows = study.rows().select("image_id", "view", "embedding").collect()
    originals = dict(rows.filter(view="original").select("image_id", "embedding").iter_rows())
    found = []
    for image_id, view, embedding in rows.filter(pl.col("view") != "original").iter_rows():
        one, two = np.array(originals[image_id]), np.array(embedding)
        cosine = one @ two / (np.linalg.norm(one) * np.linalg.norm(two))
        found.append({"augmentation": view, "degrees": float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))})
    return pl.DataFrame(found).group_by("augmentation", maintain_order=True).mean()


def main(folder: Path) -> None:
    photos = copy_photos(folder / "photos")  # or the path of a folder of yours
    print(f"Measuring the images in {photos}; the study is {folder / 'own-study'}.")
    study = embedshift.run(
        photos,
        out=folder / "own-study",
        model="dinov2-small-offline",
        augmentations={
            "sepia": A.ToSepia(p=1),  # a transform of albumentations
            "fog": fog,  # a function
            "grey": A.ToGray(p=1),
        },
    )
    relative_shifts = (
        study.summary()
        .filter(metric="cosine_similarity")
        .select("augmentation", "relative_shift", "relative_shift_low", "relative_shift_high")
    )
    print("How far the embedding moves: 0 = unchanged, 1 = as far as another image.")
    print(relative_shifts)
    table = angles(study)
    table.write_csv(folder / "angles.csv")
    print(f"The metric of this script, also in {folder / 'angles.csv'}:")
    print(table)


# Loader processes import this file again, so the work stands behind this line.
if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/own_augmentation_and_metric"))
