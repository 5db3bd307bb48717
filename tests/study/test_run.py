"""A run's rows, columns and files, through `embedshift.run`."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import embedshift
from embedshift.encoders import Preprocess
from embedshift.questions.meaning import PROPERTIES
from support import ASKED, command, studies
from support.matrix import first_only
from support.models import Colours, pictures

pytestmark = pytest.mark.slow

RADAR = ("cosine_similarity", "attention_similarity", "patch_similarity", "edge_preservation", "detail_preservation")
METRICS = ("cosine_similarity", "l2_distance", *RADAR[1:])


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(7)


@pytest.fixture(scope="module")
def clip():
    return str(studies.checkpoint("clip"))


def rows_of(study):
    return study.rows().collect()


def in_order(names, seed=0):
    """Ids in the order of a study: by a hash of its seed and the id."""
    return sorted(names, key=lambda name: hashlib.blake2b(f"{seed}|order|{name}".encode(), digest_size=8).digest())


@pytest.mark.matrix
def test_views_drawn_in_this_process_before_do_not_hang_the_workers(photos, tmp_path):
    """OpenCV's own threads, once begun, do not survive a fork; in a process of its own, which can be ended."""
    code = """
import sys, numpy as np, embedshift
from support.models import Colours
if __name__ == "__main__":
    embedshift.make_views(np.full((600, 800, 3), 7, np.uint8), image_id="a.png", size=512)
    print(embedshift.run(sys.argv[1], out=sys.argv[2], model=Colours(), workers=2).info()["counts"]["measured"])
"""
    (tmp_path / "script.py").write_text(code)
    arguments = [sys.executable, str(tmp_path / "script.py"), str(photos), str(tmp_path / "study")]
    there = command.environment(PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    done = subprocess.run(arguments, env=there, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "7"


def test_columns_are_the_contract(photos, clip, tmp_path):
    few = ["noise", "blur", "elastic"]
    study = embedshift.run(photos, out=tmp_path / "study", model=clip, families=few, shard_size=4, draws=2, workers=0)
    parts = sorted((tmp_path / "study" / "shards").iterdir())
    assert [part.name for part in parts] == ["part-00000.parquet", "part-00001.parquet"]
    vector = pa.list_(pa.float32(), 20)
    expected = {
        "image_id": pa.string(), "view": pa.string(), "draw": pa.int32(), "view_seed": pa.int64(),
        "pixels": pa.string(), "embedding": vector, "attention": pa.list_(pa.float32(), 16),
        **dict.fromkeys((*METRICS, *PROPERTIES), pa.float64()), "pairwise": pa.list_(pa.float32()),
        "caption": pa.string(),
    }  # fmt: skip
    for part in parts:
        schema = pq.read_schema(part)
        assert dict(zip(schema.names, schema.types, strict=True)) == expected
        assert schema.names == list(expected)
    rows = rows_of(study)
    assert (tmp_path / "study" / "failures.parquet").is_file()
    assert study.failures().is_empty()
    original = pl.col("view") == "original"
    assert rows.filter(original).select("draw", "view_seed").unique().rows() == [(0, 0)]
    assert rows.filter(original).select(pl.all_horizontal(pl.col(METRICS).is_null())).to_series().all()
    assert rows.filter(original)["pairwise"].list.len().to_list() == [6] * 7
    assert rows.filter(~original)["pairwise"].null_count() == 7 * 6
    assert rows.filter(~original).select(METRICS).null_count().sum_horizontal().item() == 0
    assert rows.filter(original).select(*PROPERTIES).null_count().sum_horizontal().item() == 0
    assert rows["caption"].null_count() == len(rows)
    assert rows["image_id"].unique(maintain_order=True).to_list() == in_order(p.name for p in photos.iterdir())


def test_metadata_and_files_of_a_study(photos, clip, tmp_path):
    out = tmp_path / "study"
    broken = pictures(tmp_path / "photos", 5)
    (broken / "picture-02.png").write_bytes(b"no picture")
    (broken / "notes.md").write_text("passed over")
    few = ["noise", "blur"]
    study = embedshift.run(broken, out=out, model=clip, families=few, shard_size=2, workers=0, batch_size=16)
    info = json.loads((out / "study.json").read_text())
    said = [json.loads(pq.read_metadata(p).metadata[b"embedshift"]) for p in sorted((out / "shards").iterdir())]
    order = in_order(p.name for p in broken.iterdir() if p.suffix == ".png")
    parts = [order[:2], order[2:4], order[4:]]
    lost = [part.count("picture-02.png") for part in parts]
    assert [(s["index"], s["images"], len(s["failures"]), s["batch_size"]) for s in said] == [
        (k, len(parts[k]) - lost[k], lost[k], 16) for k in range(3)
    ]
    rows = study.rows().collect()["image_id"].unique(maintain_order=True).to_list()
    assert rows == [name for name in order if name != "picture-02.png"]
    assert info["order"] == "shuffled"
    assert {s["schema_version"] for s in said} == {8} == {info["schema_version"]}
    assert {s["config_hash"] for s in said} == {info["config_hash"]}
    assert len(info["config_hash"]) == 64
    assert [f["image_id"] for s in said for f in s["failures"]] == ["picture-02.png"]
    for stage in ("read", "decode", "draw", "pixels", "encode", "measure"):
        assert info["seconds"][stage] == pytest.approx(sum(s["seconds"][stage] for s in said), abs=0.01)
    assert info["counts"] == {"images": 5, "measured": 4, "failed": 1, "rows": 12, "skipped": {".md": 1}}
    assert info["complete"] is True
    encoder = embedshift.load_encoder(clip)
    assert {k: info["encoder"][k] for k in ("name", "dim", "grid", "size", "weights_hash", "attention_kind")} == {
        "name": "clip", "dim": 20, "grid": [4, 4], "size": 32, "weights_hash": encoder.weights_hash,
        "attention_kind": "cls",
    }  # fmt: skip
    assert info["config"]["batch_size"] == 16
    assert {"torch", "transformers", "albumentations", "opencv-python-headless", "python"} <= set(info["versions"])
    assert info["source"]["root"] == str(broken)
    failures = pl.read_parquet(out / "failures.parquet")
    assert failures.columns == ["image_id", "stage", "reason", "transient"] == study.failures().columns
    assert failures.select("image_id", "stage").rows() == [("picture-02.png", "decode")]
    names = {"summary", "ranking", "pairwise", "clusters"}
    assert {f"{n}{e}" for n in names for e in (".csv", ".parquet")} <= {p.name for p in (out / "tables").iterdir()}


@pytest.mark.parametrize("batch_size", first_only([3, 64]))
def test_batches_are_full_and_never_cross_a_shard(batch_size, photos, tmp_path):
    encoder = Colours()
    settings = {"families": ["noise", "blur", "elastic"], "batch_size": batch_size, "shard_size": 5, "workers": 0}
    embedshift.run(photos, out=tmp_path / "study", model=encoder, **settings)
    del encoder.batches[:ASKED]
    sizes = [len(batch) for batch in encoder.batches]
    expected = []
    for views in (20, 8):
        expected += [batch_size] * (views // batch_size) + ([views % batch_size] if views % batch_size else [])
    assert sizes == expected
    # Every view was encoded once, and the rows hold what the encoder gave for the views of that image.
    rows = rows_of(embedshift.load(tmp_path / "study"))
    given = np.concatenate([Colours()(batch).embedding for batch in encoder.batches])
    assert rows["embedding"].to_numpy().tobytes() == given.tobytes()


def test_limit_sample_and_seed(photos, tmp_path):
    def ids(**settings):
        out, view = tmp_path / str(len(list(tmp_path.iterdir()))), {"dark": lambda image, rng: image // 2}
        study = embedshift.run(photos, out=out, model=Colours(), augmentations=view, workers=0, **settings)
        return rows_of(study)["image_id"].unique().sort()

    names = sorted(p.name for p in photos.iterdir())
    assert ids(limit=3).to_list() == names[:3]
    drawn = ids(sample=3, seed=1).to_list()
    assert len(drawn) == 3
    assert drawn == ids(sample=3, seed=1).to_list()
    assert drawn != ids(sample=3, seed=2).to_list()
    assert set(ids(sample=2, limit=3, seed=5)) <= set(names[:3])
    assert ids(sample=50).to_list() == names


def test_crop_gives_the_encoders_own_preprocessing(photos, tmp_path):
    encoder = Colours()
    encoder.preprocess = Preprocess(32, encoder.mean, encoder.std, shortest=40, resample=3)
    embedshift.run(photos, out=tmp_path / "study", model=encoder, families=["noise"], resize="crop", limit=1, workers=0)
    picture = Image.open(photos / "picture-00.png")
    small = picture.resize((int(40 * 80 / 60), 40), Image.Resampling.BICUBIC)
    left, top = (small.width - 32) // 2, (small.height - 32) // 2
    np.testing.assert_array_equal(encoder.batches[ASKED][0], np.asarray(small.crop((left, top, left + 32, top + 32))))


def test_optional_metric(photos, tmp_path):
    name = "patch_similarity_uint8"
    settings = {"families": ["noise"], "metrics": [name] * 2, "limit": 1, "workers": 0}
    study = embedshift.run(photos, out=tmp_path / "study", model=Colours(), **settings)
    assert study.metrics == [*METRICS, name]
    assert rows_of(study)[name].is_null().to_list() == [True, False]
    assert name in study.summary()["metric"].to_list()
