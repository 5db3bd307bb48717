"""Find near duplicates in a folder.

    python find_duplicates.py [FOLDER]

The script cuts eight photographs into 48 tiles, and adds recompressed copies of four of them, so that it is known which
pairs should be found. All files are written below FOLDER; the default is build/find_duplicates.
"""

import sys
from pathlib import Path

from PIL import Image

import embedshift
from embedshift.sources.demo import copy_photos

SHOWN = 8


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


def main(folder: Path) -> None:
    planted = make_tiles(copy_photos(folder / "photos"), folder / "tiles")
    print(f"Measuring the tiles in {folder / 'tiles'}; the study is {folder / 'study'}.")
    study = embedshift.run(
        folder / "tiles",
        out=folder / "study",
        model="dinov2-small-offline",
        augmentations="none",  # originals alone; views would find more copies
    )

    print("Listing pairs until one of them is expected to be of different images.")
    pairs = study.duplicates()
    pairs.write_csv(folder / "duplicates.csv")
    print(f"{min(SHOWN, len(pairs))} of {len(pairs)} pairs shown; all are in {folder / 'duplicates.csv'}:")
    print(pairs.head(SHOWN))

    found = [{one, other} for one, other in pairs.select("image_id", "other").iter_rows()]
    print(f"{sum(pair in found for pair in planted)} of {len(planted)} copies are among {len(found)} candidates.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/find_duplicates"))
