"""Find near duplicates in a folder, and choose the cosine from which two images count as the same.

    python find_duplicates.py

A threshold for a false-match rate of 1 % needs at least 46 images. The script cuts eight photographs into 48 tiles, and
adds recompressed copies of four of them, so that it is known which pairs should be found.
"""

from pathlib import Path

import albumentations as A
from PIL import Image

import embedshift
from embedshift.cli.demo import copy_photos


def make_tiles(photos: Path, folder: Path) -> list[set[str]]:
    """Cut each photograph into 3 x 2 tiles, copy four of the tiles, and return the pairs of a tile and its copy."""
    folder.mkdir(exist_ok=True)
    planted = []
    for number, path in enumerate(sorted(photos.iterdir())):
        photo = Image.open(path).convert("RGB")
        width, height = photo.width // 3, photo.height // 2
        for place in range(6):
            left, top = place % 3 * width, place // 3 * height
            tile = photo.crop((left, top, left + width, top + height))
            name = f"{path.stem}-{place}.png"
            tile.save(folder / name)
            if place == 0 and number < 4:
                copy = f"{path.stem}-{place}-copy.jpg"
                tile.save(folder / copy, quality=60)
                planted.append({name, copy})
    return planted


def main() -> None:
    planted = make_tiles(copy_photos(Path("photos")), Path("tiles"))
    study = embedshift.run(
        "tiles",
        out="tiles-study",
        model="dinov2-small-offline",
        augmentations={"mirrored": A.HorizontalFlip(p=1)},  # duplicates need the originals alone, so one view is enough
    )

    # 0.01: at most 1 % of the pairs of different images reach the threshold.
    study.search(fmr=[0.01])
    print(study.thresholds())
    pairs = study.duplicates()
    print(pairs.head(8))

    found = [{one, other} for one, other in pairs.select("image_id", "other").iter_rows()]
    print(f"{sum(pair in found for pair in planted)} of {len(planted)} copies are among {len(found)} candidates.")
    pairs.write_csv("duplicates.csv")


if __name__ == "__main__":
    main()
