"""Tables of a part of the images: it is drawn by the seed, whatever the ids are, and sentences say "100 of 400"."""

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.questions.direction import tables as direction
from embedshift.questions.geometry import tables as geometry
from embedshift.questions.index.verdicts import answer_of
from embedshift.questions.meaning import directions as meaning
from embedshift.questions.search import ranks
from embedshift.questions.text import tables as text
from embedshift.questions.upgrade import maps as upgrade_maps
from embedshift.statistics.layout import image_rows
from embedshift.store import embeddings

pytestmark = pytest.mark.slow

IMAGES, READ, DIM = 400, 100, 16
IDS = [f"{number:03}" for number in range(IMAGES)]
TAIL = IDS[IMAGES // 2 :]
LIMITS = (
    (embeddings, "MOST_IMAGES"), (embeddings, "TRIED"), (geometry, "OF_A_SET"), (direction, "KEPT"),
    (meaning, "MOST_IMAGES"), (ranks, "PREDICTED_FROM"), (text, "QUERIES"),
)  # fmt: skip


def write(path, *, broken):
    """Vectors of images, their tiles and two changes; with `broken`, one says nothing of the images with later ids."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(IMAGES, DIM))

    def near():
        return base + 0.05 * rng.normal(size=base.shape)

    crop, rows = near(), []
    if broken:
        crop[IMAGES // 2 :] = 3 * rng.normal(size=(IMAGES // 2, DIM))
    parts = [("original", 0, base), ("crop", 0, crop), ("blur", 0, near())]
    parts += [("original", tile, near()) for tile in range(1, 5)]
    for view, tile, vectors in parts:
        rows += [(image_id, view, tile, vector.tolist()) for image_id, vector in zip(IDS, vectors, strict=True)]
    pl.DataFrame(rows, ["image_id", "view", "tile", "vector"], orient="row").write_parquet(path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("part")


@pytest.fixture(scope="module")
def study(place):
    return embedshift.from_vectors(write(place / "new.parquet", broken=True), out=place / "new")


def recall_of(table, **row):
    return table.filter(augmentation="crop", metric="recall@1", **row)


def test_every_table_of_a_part_sees_the_images_with_later_ids(study, place, monkeypatch):
    for module, name in LIMITS:
        monkeypatch.setattr(module, name, READ)
    monkeypatch.setattr(upgrade_maps, "JUDGED", READ // 5)
    old = write(place / "old.parquet", broken=False)
    upgraded = embedshift.upgrade(old, place / "new.parquet")
    captioned = image_rows(study.reader().rows().with_columns(caption_vector="embedding"))
    indexes, search = study.index(["int8"]), study.search(queries=READ)
    found = {
        "upgrade": recall_of(upgraded.table, deployment="new")["value"],
        "text": recall_of(text.text_search(captioned, study.augmentations, seed=0))["value"],
        "index": recall_of(indexes, index="float32")["value"],
        "search": recall_of(search)["value"],
        "gallery": study.table("gallery_sizes").filter(augmentation="crop", images=IMAGES, kind="measured")["recall"],
        "norms": study.table("geometry").filter(views="crop", metric="norm_ratio")["value"] - 1.5,
        "centred shift": study.summary().filter(augmentation="crop", metric="cosine_similarity")["centred_shift"],
    }
    assert found.keys() == {name for name, part in found.items() if 0.3 < part.item() < 0.7}, found
    explained = study.meaning(properties=pl.DataFrame({"image_id": TAIL, "late": range(len(TAIL))}))
    assert "late" in explained.filter(kind="property")["name"]
    assert upgraded.verdict.images == READ
    assert f"in {READ} of {IMAGES} images" in upgraded.lines[0]
    assert f"by views of {READ} images" in [*answer_of(study.reader(), indexes).sentences()][-1]
