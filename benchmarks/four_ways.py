"""One encoder in four ways: torch, its ONNX graph, a function, and vectors of written views. Are the shifts the same?

usage: python benchmarks/four_ways.py PHOTOS [--images 12] [--out DIR]

The bundled encoder, by the paper's augmentations, on files that `embedshift views` wrote. The graph is the one that the
weights came from, cut at its last hidden state. Ends with exit code 1 where relative shifts differ by more than 1e-4.
`--out` keeps the studies, with a report each.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx.utils
import polars as pl
from PIL import Image

import embedshift
from embedshift.arrays import Floats, Pixels
from embedshift.encoders import bundled
from machine import describe_machine

MODEL = "dinov2-small-offline"
LAST = "/backbone/layernorm/Add_1_output_0"
APART = 1e-4


def write_graph(file: Path) -> Path:
    """Writes the graph from the pixels to the last hidden state."""
    onnx.utils.extract_model(str(bundled._onnx_file()), str(file), ["input_image"], [LAST])
    return file


def squares(images: Sequence[Image.Image]) -> Pixels:
    """Returns pixels uint8 `[N, 224, 224, 3]` of images that are squares."""
    return np.stack([np.asarray(image) for image in images])


def table_of(views: Path, function: embedshift.encoders.Encoder) -> pl.DataFrame:
    """Returns the vectors of all files as another program would write them."""
    rows = []
    for folder in sorted(path for path in views.iterdir() if path.is_dir()):
        files = sorted(folder.iterdir())
        vectors = function(squares([Image.open(file) for file in files])).embedding
        rows += [
            {"image_id": file.name, "view": folder.name, "vector": vector.tolist()}
            for file, vector in zip(files, vectors, strict=True)
        ]
    return pl.DataFrame(rows)


def studies(photos: Path, images: int, out: Path) -> dict[str, tuple[embedshift.Study, float]]:
    """Returns the study of each way, and its seconds of processor time, which other programs do not lengthen."""
    encoder = embedshift.load_encoder(MODEL, device="cpu")
    views = out / "views"
    written = embedshift.write_views(photos, out=views, sample=images, apply_to="input", size=encoder.size)
    print(f"{len(written.images)} images with {len(written.augmentations)} views")
    graph, file = write_graph(out / "bundled.onnx"), views / "views.json"

    def function(images: Sequence[Image.Image]) -> Floats:
        return encoder(squares(images)).embedding

    def run(name: str, **settings: Any) -> embedshift.Study:
        return embedshift.run(file, pairs=file, out=out / name, workers=0, **settings)

    ways: dict[str, Callable[[], embedshift.Study]] = {
        "torch": lambda: run("torch", model=encoder),
        "ONNX": lambda: run("onnx", model=f"onnx:{graph}", mean=encoder.mean, std=encoder.std),
        "function": lambda: run("function", model=embedshift.image_encoder(function, name="function", version="1")),
        "vectors": lambda: embedshift.from_vectors(table_of(views, encoder), views=str(file), out=out / "vectors"),
    }
    made = {}
    for name, make in ways.items():
        begun = time.process_time()
        made[name] = make(), time.process_time() - begun
    return made


def main() -> int:
    """Prints the time of each way, and how far its relative shifts are from torch's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    print(describe_machine())
    largest = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        out.mkdir(exist_ok=True)
        made = studies(given.photos, given.images, out)
        keys, column = ["augmentation", "metric"], "relative_shift"
        torch = made["torch"][0].summary().select(*keys, column)
        for name, (study, seconds) in made.items():
            both = study.summary().join(torch, on=keys, suffix="_of_torch").drop_nulls(column)
            apart = float((both[column] - both[f"{column}_of_torch"]).abs().max())  # type: ignore[arg-type]
            largest = max(largest, apart if len(both) else np.inf)
            words = f"{len(both)} relative shifts, at most {apart:.1e} from torch"
            print(f"{name}: {seconds:.1f} s of processor time, {words}", flush=True)
            if given.out is not None:
                study.report()
    return int(largest > APART)


if __name__ == "__main__":
    sys.exit(main())
