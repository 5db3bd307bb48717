"""`embedshift.whiten`: the map, its files, and what is refused."""

import sys

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from onnx.reference import ReferenceEvaluator

import embedshift
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.info import read_content, write_content
from support import studies
from support.inside import WhitenedStudy, whitened
from support.revised import without_vectors
from support.synthetic import make_study


@pytest.fixture(scope="module")
def study():
    return studies.synthetic(40, ["noise", "blur", "horizontal_flip"], dim=6)


def vectors_of(study):
    return study.rows().select("embedding").collect()["embedding"].to_numpy()


@pytest.mark.parametrize("kind", ["centred", "originals", "shifts"])
def test_numpy_class_and_onnx_agree(study, kind, tmp_path):
    path, graph = tmp_path / "map.npz", tmp_path / "map.onnx"
    fitted = embedshift.whiten(study, out=path, map=kind, onnx=graph)
    vectors = vectors_of(study)
    file = np.load(path, allow_pickle=False)
    assert (file["mean"].dtype, file["matrix"].dtype, int(file["dim"])) == (np.float32, np.float32, 6)
    x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) - file["mean"]
    x = x @ file["matrix"]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    onnx.checker.check_model(str(graph), full_check=True)
    for run in (onnxruntime.InferenceSession(str(graph)), ReferenceEvaluator(str(graph))):
        for scale in np.float32([1, 1e20, 1e-25]):
            assert np.abs(run.run(None, {"embeddings": scale * vectors})[0] - x).max() < 1e-5
        assert np.isnan(run.run(None, {"embeddings": np.full((1, 6), np.nan, np.float32)})[0]).all()
        assert not run.run(None, {"embeddings": np.zeros((1, 6), np.float32)})[0].any()
    loaded = embedshift.Whitening.load(path)
    assert np.abs(loaded(vectors) - x).max() < 1e-5
    info = study.reader().info
    assert (loaded.name, loaded.encoder) == (fitted.name, fitted.encoder) == (kind, info.encoder.weights_hash)
    assert loaded.version == str(file["embedshift"]) == embedshift.__version__


@pytest.mark.parametrize("recommended", [[], ["centred"], ["shifts"]])
def test_without_a_choice_it_is_the_recommended_map_or_none(study, recommended, tmp_path, monkeypatch):
    table = pl.DataFrame({"map": ["centred", "shifts"]}).with_columns(recommended=pl.col("map").is_in(recommended))
    monkeypatch.setattr(embedshift.Study, "whitening", lambda self: table, raising=False)
    if recommended:
        assert [embedshift.whiten(study).name] == recommended
    else:
        with pytest.raises(UsageError, match="no map is recommended; name one by `map`"):
            embedshift.whiten(study, out=tmp_path / "map.npz")
        assert not (tmp_path / "map.npz").exists()


def assert_inverts(fitted, moment, atol):
    """The map undoes a second moment, to a tenth of its mean variance."""
    expected = np.linalg.inv(moment + 0.1 * np.trace(moment) / 6 * np.eye(6))
    found = fitted.matrix.astype(np.float64) @ fitted.matrix.T
    assert np.allclose(found / found[0, 0], expected / expected[0, 0], atol=atol)


def units_of(study):
    """Unit vectors of originals and of noise, `[images, 2, 6]`."""
    vectors = vectors_of(study).reshape(-1, 2, 6).astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.slow
def test_maps_undo_shifts_of_all_studies_together_or_originals_around_their_mean(tmp_path):
    halves = [make_study(tmp_path / str(seed), 10, ["noise"], seed=seed, dim=6) for seed in (1, 2)]
    fitted, units = embedshift.whiten(halves, map="shifts"), np.concatenate([units_of(half) for half in halves])
    shifts = units[:, 1] - units[:, 0]
    assert np.allclose(fitted.mean, units[:, 0].mean(axis=0), atol=1e-6)
    assert_inverts(fitted, shifts.T @ shifts / 20, 1e-4)
    covariance = np.cov(units_of(halves[0])[:, 0].T, bias=True)
    assert_inverts(embedshift.whiten(halves[0], map="originals"), covariance, 1e-3)


@pytest.mark.slow
def test_what_is_missing_or_does_not_fit_is_one_line(study, tmp_path, monkeypatch):
    other = make_study(tmp_path / "other", 10, ["noise"], dim=6, encoder="another")
    content = read_content(other.folder)
    write_content(other.folder, content | {"encoder": content["encoder"] | {"weights_hash": "0"}})
    with pytest.raises(UsageError, match="of another encoder than"):
        embedshift.whiten([study, other])
    write_content(other.folder, content | {"complete": False})
    with pytest.raises(UsageError, match="not finished"):
        embedshift.whiten(other)
    write_content(other.folder, content)
    without_vectors(other)
    with pytest.raises(UsageError, match="stores no embeddings"):
        embedshift.whiten(other)
    with pytest.raises(UsageError, match="no study given"):
        embedshift.whiten([])
    with pytest.raises(UsageError, match="choose one of centred, originals, shifts"):
        embedshift.whiten(study, map="pca")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(EmbedshiftError, match=r"pip install 'embedshift\[offline\]'"):
        embedshift.whiten(study, map="shifts", onnx=tmp_path / "map.onnx")
    wide = studies.synthetic(10, ["noise"], dim=8)
    embedshift.whiten(wide, map="shifts", out=tmp_path / "map.npz")
    with pytest.raises(UsageError, match=r"map\.npz: fitted to embeddings of another encoder"):
        WhitenedStudy(study.folder, tmp_path / "map.npz")


def test_a_whitened_study_reads_its_vectors_through_the_map(study, tmp_path):
    fitted = embedshift.whiten(study, map="shifts", out=tmp_path / "map.npz")
    mapped = WhitenedStudy(study.folder, tmp_path / "map.npz")
    assert np.allclose(vectors_of(mapped), fitted(vectors_of(study)), atol=1e-6)
    before = {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")}
    table, kept = mapped.table("search", queries="20"), mapped.table("search_ranks")
    vectors = fitted(vectors_of(study)).reshape(40, 4, 6)
    views = list(mapped.reader().image_rows.layout.views)
    originals = vectors[:, views.index("original")]
    for name in study.augmentations:
        cosines = vectors[:20, views.index(name)] @ originals.T
        own = cosines[np.arange(20), np.arange(20)]
        ranks = (cosines >= own[:, None] - 1e-7).sum(axis=1)
        assert kept.filter(view=name)["rank"].to_list() == ranks.tolist()
        assert table.filter(augmentation=name, metric="recall@1")["value"].item() == (ranks == 1).mean()
    assert {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")} == before


@pytest.mark.slow
def test_a_whitened_study_is_compared_by_its_mapped_vectors(study, tmp_path):
    fitted = embedshift.whiten(study, map="centred", out=tmp_path / "map.npz")
    comparison = embedshift.compare(whitened([study.folder], tmp_path / "map.npz"))
    views = study.reader().image_rows.layout.views
    rows = comparison.comparison
    for place, vectors in enumerate((vectors_of(study), fitted(vectors_of(study)))):
        units = vectors.reshape(40, 4, 6).astype(np.float64)
        units /= np.linalg.norm(units, axis=-1, keepdims=True)
        originals = units[:, views.index("original")]
        pairs = originals @ originals.T
        baseline = (pairs.sum() - 40) / (40 * 39)
        for name in study.augmentations:
            cosine = (units[:, views.index(name)] * originals).sum(axis=1)
            expected = {"cosine_similarity": cosine.mean(), "relative_shift": (1 - cosine.mean()) / (1 - baseline)}
            for metric, value in expected.items():
                row = rows.filter(augmentation=name, metric=metric)
                assert row[("reference_mean", "mean")[place]].item() == pytest.approx(value, abs=1e-6)
    names = [f"synthetic-encoder (float32{words})" for words in ("", ", whitened")]
    assert comparison.studies["study"].to_list() == names
    assert rows.filter(metric="l2_distance")["difference"].is_null().all()
    assert rows.filter(metric="patch_similarity")["difference"].abs().max() == 0
    other = studies.copied(study, tmp_path / "other")
    opened = whitened([study.folder, other.folder], tmp_path / "map.npz")
    assert [(each.folder, each.reader().whitening is None) for each in opened] == [
        (study.folder, True), (other.folder, False),
    ]  # fmt: skip


@pytest.mark.slow
def test_vectors_that_are_too_long_for_a_map(tmp_path):
    made = make_study(tmp_path / "long", 12, ["noise", "blur"], dim=8_193)
    with pytest.raises(UsageError, match="maps are fitted to vectors of at most 8,192 numbers"):
        embedshift.whiten(made)
    with pytest.raises(EmbedshiftError, match="whitening"):
        made.whitening()
    made.search(threshold=-1.0)
    assert made.table("duplicates")["whitened"].is_null().all()
    made.report(groups="near", figures=[], formats=["svg"])
    assert made.info()["groups"]["chosen"] == "near"
