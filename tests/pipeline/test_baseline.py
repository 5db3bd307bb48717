"""Baselines of real studies against all pairs of their images, and what must not change them."""

import itertools
import weakref

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.config import make_config
from embedshift.pipeline import records as baseline
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.prepare import prepared
from embedshift.questions.embedding import measure as embedding
from embedshift.registry import METRICS
from support.mean_colour import MeanColour

METRICS_OF_PAIRS = ("attention_similarity", "patch_similarity", "edge_preservation", "detail_preservation")
SUITE = {
    "same": lambda image, rng: image,
    "dark": lambda image, rng: image // 2,
    "noise": lambda image, rng: rng.integers(0, 256, image.shape, dtype=np.uint8),
}


def write_images(folder, count, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        fine = rng.integers(-20, 21, (32, 32, 3)) + np.kron(coarse.astype(int), np.ones((8, 8, 1), int))
        Image.fromarray(np.clip(fine, 0, 255).astype(np.uint8)).save(folder / f"{number:03}.png")
    return folder


def run(images, out, **settings):
    given = {"model": MeanColour(), "augmentations": SUITE, "workers": 0} | settings
    return embedshift.run(images, out=out, **given)


def baselines(study):
    table = study.summary().filter(augmentation="dark")
    return dict(table.select("metric", "baseline").iter_rows())


def all_pairs(study, folder):
    """Metric → its values over all pairs of originals, from the files and the stored vectors."""
    rows = study.rows().filter(pl.col("view") == "original").collect().sort("image_id")
    vectors = rows["embedding"].to_numpy().astype(float)
    maps = rows["attention"].to_numpy().reshape(-1, 4, 4)
    views = np.stack([np.asarray(Image.open(folder / name)) for name in rows["image_id"]])
    pairs = list(itertools.combinations(range(len(rows)), 2))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = METRICS["attention_similarity"].function
    found = {
        "cosine_similarity": [units[a] @ units[b] for a, b in pairs],
        "l2_distance": [np.sqrt(((vectors[a] - vectors[b]) ** 2).sum()) for a, b in pairs],
        "attention_similarity": [likeness(maps[a], maps[b], 32).item() for a, b in pairs],
    }
    for name in METRICS_OF_PAIRS[1:]:
        found[name] = [METRICS[name].function(views[a], views[b]).item() for a, b in pairs]
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.slow
def test_baselines_of_few_images_are_the_means_of_all_pairs(tmp_path):
    folder = write_images(tmp_path / "images", 16)
    study = run(folder, tmp_path / "study")
    found, wanted = baselines(study), all_pairs(study, folder)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values.mean(), abs=1e-10), name


@pytest.mark.slow
def test_originals_are_kept_without_their_views(tmp_path):
    config = make_config({"images": [str(write_images(tmp_path / "images", 4))], "workers": 0})
    with prepared(config, None, encoder=MeanColour()) as study:
        kept = baseline.SampledPairs(study.plan.measures, study.plan, 4)
        for sample in study.samples:
            image = draw_image(sample, study.plan.source, study.plan)
            output = MeanColour()(image.views)
            kept.add(image, output)
            arrays = [weakref.ref(array) for array in (image.views, output.embedding, output.attention)]
            del image, output
            assert all(array() is None for array in arrays)
    assert len(kept.close()["values"]) == 6


@pytest.mark.matrix
@pytest.mark.slow
def test_a_large_study_keeps_sums_by_groups_and_some_vectors(tmp_path, monkeypatch):
    folder = write_images(tmp_path / "images", 50)
    small = baselines(run(folder, tmp_path / "small", shard_size=10))
    monkeypatch.setattr(embedding, "KEPT", 20)
    monkeypatch.setattr(embedding, "CHUNKS", 12)
    study = run(folder, tmp_path / "large", shard_size=10)
    large = baselines(study)
    assert large["cosine_similarity"] == pytest.approx(small["cosine_similarity"], abs=1e-10)
    kept = [part["vectors"] for part in study.reader().shard_sums("vectors")]
    assert [len(part) for part in kept] == [4] * 5
    pairs = itertools.combinations(np.vstack(kept), 2)
    assert large["l2_distance"] == pytest.approx(np.mean([np.linalg.norm(a - b) for a, b in pairs]), abs=1e-10)
    relative_shift = study.summary().filter(metric="cosine_similarity")
    assert relative_shift["relative_shift_low"].is_not_null().all()


@pytest.mark.matrix
@pytest.mark.slow
def test_the_first_shards_of_a_large_study_have_the_sums_of_a_small_one(tmp_path, monkeypatch):
    folder = write_images(tmp_path / "images", 50)
    for module in (embedding, baseline):
        monkeypatch.setattr(module, "KEPT", 20)
    monkeypatch.setattr(embedding, "CHUNKS", 12)
    study = run(folder, tmp_path / "study", shard_size=10)
    assert [len(part["vectors"]) for part in study.reader().shard_sums("vectors")] == [10, 10, 7, 5, 4]
    sizes = [part["images"].tolist() for part in study.reader().shard_sums("normalised")]
    assert sizes == [[1] * 10, [1] * 10, [2] * 5, [3, 3, 3, 1], [4, 4, 2]]


@pytest.mark.slow
def test_relative_shifts_of_identity_and_of_noise(tmp_path):
    study = run(write_images(tmp_path / "images", 30), tmp_path / "study")
    rows = {(row["augmentation"], row["metric"]): row for row in study.summary().iter_rows(named=True)}
    same, dark = rows["same", "cosine_similarity"], rows["dark", "cosine_similarity"]
    assert [same[name] for name in ("relative_shift", "relative_shift_low", "relative_shift_high")] == pytest.approx(
        [0, 0, 0], abs=1e-12
    )
    assert dark["relative_shift"] == pytest.approx((1 - dark["mean"]) / (1 - dark["baseline"]), rel=1e-12)
    assert rows["noise", "l2_distance"]["relative_shift"] == pytest.approx(
        rows["noise", "l2_distance"]["mean"] / rows["noise", "l2_distance"]["baseline"], rel=1e-12
    )


def test_pairs():
    assert list(itertools.islice(baseline.index_pairs(5), 4)) == [(0, 1), (2, 3), (1, 2), (3, 4)]
    assert sorted(baseline.index_pairs(7)) == sorted(itertools.combinations(range(7), 2))
    counts = {(1, 1): 0, (20, 20): 190, (64, 200): 64, (64, 1_000_000): 4}
    assert {of: baseline.pair_count(*of) for of in counts} == counts
    assert sum(baseline.pair_count(size, 200) for size in (64, 64, 64, 8)) >= baseline.LEAST_PAIRS
