"""Studies whose embeddings come through the map of an index: in a search, a comparison, and what is refused."""

import json

import numpy as np
import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.index import fitted_index
from embedshift.statistics.index_parts import Training
from embedshift.statistics.whitening import Whitening, moments_of
from embedshift.store.info import read_content, write_content
from support import studies
from support.inside import IndexedStudy, indexed
from support.revised import without_vectors
from support.synthetic import make_study


@pytest.fixture(scope="module")
def study():
    return studies.synthetic(40, ["noise", "blur", "horizontal_flip"], dim=6)


def vectors_of(study):
    return study.rows().select("embedding").collect()["embedding"].to_numpy()


def units_of(study):
    vectors = vectors_of(study)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).reshape(40, 4, 6)


@pytest.fixture(scope="module")
def whiten(study, tmp_path_factory):
    """A file that `whiten` of an earlier version wrote: the map of shifts."""
    units = units_of(study)
    made = moments_of(units[:, 0], units[:, 1:].swapaxes(0, 1)).by_shifts()
    encoder = study.reader().info.encoder
    path = tmp_path_factory.mktemp("maps") / "map.npz"
    Whitening(made.mean, made.matrix, "shifts", encoder.weights_hash, encoder.embedding or "", "1.0").save(path)
    return path


def by_hand(path, vectors):
    file = np.load(path, allow_pickle=False)
    moved = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) - file["mean"]) @ file["matrix"]
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def test_a_search_through_a_map_is_that_of_the_mapped_vectors_and_writes_nothing(study, whiten):
    mapped = IndexedStudy(study.folder, whiten)
    vectors = by_hand(whiten, vectors_of(study))
    assert np.allclose(vectors_of(mapped), vectors, atol=1e-6)
    before = {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")}
    table, kept = mapped.table("search", queries="20"), mapped.table("search_ranks")
    vectors, views = vectors.reshape(40, 4, 6), list(mapped.reader().image_rows.layout.views)
    originals = vectors[:, views.index("original")]
    for name in study.augmentations:
        cosines = vectors[:20, views.index(name)] @ originals.T
        own = cosines[np.arange(20), np.arange(20)]
        ranks = (cosines >= own[:, None] - 1e-7).sum(axis=1)
        assert kept.filter(view=name)["rank"].to_list() == ranks.tolist()
        assert table.filter(augmentation=name, metric="recall@1")["value"].item() == (ranks == 1).mean()
    assert {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")} == before


def test_a_size_is_searched_in_its_own_dimensions(study, tmp_path):
    units, encoder = units_of(study).astype(np.float32), study.reader().info.encoder
    fitted = fitted_index("first-3+binary", Training(units[:, 0], units[:, 1:]))
    vars(fitted)["encoder"], vars(fitted)["embedding"] = encoder.weights_hash, encoder.embedding or ""
    fitted.save(tmp_path / "three.npz")
    mapped = IndexedStudy(study.folder, tmp_path / "three.npz")
    cut = units[..., :3] / np.linalg.norm(units[..., :3], axis=2, keepdims=True)
    assert np.allclose(vectors_of(mapped).reshape(40, 4, 3), cut, atol=1e-6)
    view = list(mapped.reader().image_rows.layout.views).index("noise")
    cosines = cut[:, view] @ cut[:, 0].T
    ranks = (cosines >= cosines.diagonal()[:, None] - 1e-7).sum(axis=1)
    assert mapped.table("search", queries="all") is not None
    assert mapped.table("search_ranks").filter(view="noise")["rank"].to_list() == ranks.tolist()


@pytest.mark.slow
def test_a_comparison_through_a_map_is_of_the_mapped_vectors(study, whiten, tmp_path):
    comparison = embedshift.compare(indexed([study.folder], whiten))
    views = study.reader().image_rows.layout.views
    rows = comparison.comparison
    for place, vectors in enumerate((vectors_of(study), by_hand(whiten, vectors_of(study)))):
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
                assert row[("reference_mean", "mean")[place]].item() == pytest.approx(value, abs=1e-5)
    names = [f"synthetic-encoder (float32{words})" for words in ("", ", whiten")]
    assert comparison.studies["study"].to_list() == names
    assert rows.filter(metric="l2_distance")["difference"].is_null().all()
    assert rows.filter(metric="patch_similarity")["difference"].abs().max() == 0
    other = studies.copied(study, tmp_path / "other")
    opened = indexed([study.folder, other.folder], whiten)
    assert [(each.folder, each.reader().index is None) for each in opened] == [
        (study.folder, True), (other.folder, False),
    ]  # fmt: skip


@pytest.mark.slow
def test_what_does_not_fit_is_one_line(study, whiten, tmp_path):
    other = make_study(tmp_path / "other", 10, ["noise"], dim=6)
    content = read_content(other.folder)
    write_content(other.folder, content | {"encoder": content["encoder"] | {"weights_hash": "0"}})
    with pytest.raises(UsageError, match=r"map\.npz: fitted to embeddings of another encoder"):
        IndexedStudy(other.folder, whiten)
    write_content(other.folder, content | {"complete": False})
    with pytest.raises(UsageError, match="not finished"):
        IndexedStudy(other.folder, whiten)
    write_content(other.folder, content)
    without_vectors(other)
    with pytest.raises(UsageError, match="stores no embeddings"):
        IndexedStudy(other.folder, whiten)
    units = units_of(study).astype(np.float32)
    fitted_index("binary", Training(units[:, 0], units[:, 1:])).save(tmp_path / "binary.npz")
    with pytest.raises(UsageError, match="binary has no map and no size, so that embeddings stay as they are"):
        IndexedStudy(study.folder, tmp_path / "binary.npz")


@pytest.mark.slow
def test_the_command_line_says_what_it_shows(cli, study, whiten, tmp_path):
    study = studies.copied(study, tmp_path / "copy")
    of_map = ("--index", whiten)
    plain = json.loads(cli("search", study.folder, "--json").out)["search"]
    assert json.loads(cli("search", study.folder, "--json", *of_map).out)["search"] != plain
    assert "Map and size of whiten; nothing was written." in cli("search", study.folder, *of_map).out
    done = cli("compare", study.folder, *of_map)
    assert done.code == 0, done.err
    assert "(float32, whiten) moves" in done.out
    assert "relative shifts are of two spaces: compare what a search finds" in done.out


def test_names_that_went_are_answered_by_one_line(cli, study, tmp_path):
    for name in ("codes", "whiten"):
        done = cli(name, study.folder, "--out", tmp_path / "map.npz")
        assert (done.code, done.line) == (2, f"error: command '{name}' is gone: `embedshift index` takes its place")
    for option, words in {
        "--whiten": "--index FILE takes its place",
        "--layout": "`embedshift index STUDY tiles`",
    }.items():
        done = cli("search", study.folder, option, "tiles")
        assert (done.code, f"option {option} is gone: {words}" in done.line) == (2, True)
    for name in ("codes", "whitening", "layouts", "layout_tolerance"):
        with pytest.raises(AttributeError, match=f"attribute '{name}' is gone: `embedshift index` takes its place"):
            getattr(study, name)
    with pytest.raises(AttributeError, match=r"embedshift\.whiten is gone: `embedshift\.fit_index"):
        _ = embedshift.whiten
    with pytest.raises(UsageError, match="rule 1: table 'codes' is gone: `embedshift index` takes its place"):
        embedshift.check(study, rules=[{"table": "codes", "at_least": 0.5}])
