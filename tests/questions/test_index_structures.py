"""Approximate searches, and maps from files, in the experiment: against FAISS itself and loops."""

from dataclasses import replace

import faiss
import numpy as np
import pytest

import embedshift
from embedshift.errors import MissingExtra, UsageError
from embedshift.questions.index.experiment import Vectors, experiment
from embedshift.statistics.index import fitted_index
from embedshift.statistics.index_parts import Training
from embedshift.statistics.judged import Split
from embedshift.statistics.vectors import normalised_float32

pytestmark = pytest.mark.slow

DIM, RATE, NAMES = 16, 0.01, ("blur", "noise")


def world(count=500, per_group=1, gallery=300, seed=0):
    rng = np.random.default_rng(seed)
    centres = 2 * rng.normal(size=(20, DIM))
    originals = centres[rng.integers(20, size=count)] + rng.normal(size=(count, DIM))
    views = originals[:, None, None] + 0.7 * rng.normal(size=(count, 1, 2, DIM))
    others = centres[rng.integers(20, size=gallery)] + rng.normal(size=(gallery, DIM))
    unit = [normalised_float32(each.astype(np.float32)) for each in (originals, views, others)]
    return Vectors(unit[0], unit[1], np.arange(count) // per_group, NAMES, unit[2])


def found(names, given):
    return dict(experiment(names, given, Split.of(given.groups, {name: name for name in NAMES}), RATE))


def with_missing(given):
    originals, views, gallery = given.originals.copy(), given.views.copy(), given.gallery.copy()
    originals[7] = views[11, 0, 1] = gallery[5:9] = 0
    return replace(given, originals=originals, views=views, gallery=gallery)


@pytest.mark.parametrize("code", ["float32", "binary"])
@pytest.mark.parametrize("per_group", [1, 3])
def test_ivf_finds_what_faiss_returns_of_the_cells_that_it_searches(per_group, code):
    given = with_missing(world(per_group=per_group))
    name = "ivf" if code == "float32" else f"{code}+ivf"
    tried = found([name], given)[name]
    values = {metric: each.values[:, 0] for metric, each in tried.outcomes.items()}

    def kept(vectors):
        return vectors if code == "float32" else np.where(vectors > 0, np.float32(1), np.float32(-1))

    lost = 0
    for fold in range(5):
        inside, outside = (np.flatnonzero((given.groups % 5 == fold) == side) for side in (True, False))
        trained_on = kept(given.originals[[i for i in outside if given.originals[i].any()]])
        rows = [("own", i) for i in inside if given.originals[i].any()]
        rows += [("other", k) for k in range(300) if given.gallery[k].any()]
        every = np.array([kept((given.originals if kind == "own" else given.gallery)[i]) for kind, i in rows])
        cells = min(int(4 * len(trained_on) ** 0.5), len(trained_on) // 39)
        coarse = faiss.IndexFlatIP(DIM)
        index = faiss.IndexIVFFlat(coarse, DIM, cells, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = cells // 8
        index.train(trained_on)
        index.add(every)
        for i in inside:
            for column in range(2):
                query = given.views[i, 0, column]
                if not query.any() or not given.originals[i].any():
                    assert np.isnan(values["recall@1"][i, column])
                    continue
                candidates = min(10 + per_group, len(rows))
                scores, places = (each[0] for each in index.search(query[None], candidates))
                hits = [(score, rows[place]) for score, place in zip(scores, places, strict=True) if place >= 0]
                mine = [score for score, row in hits if row == ("own", i)]
                mates = {("own", j) for j in inside if given.groups[j] == given.groups[i]}
                others = [score for score, row in hits if row not in mates]
                rank = 1 + sum(other >= mine[0] - 1e-6 * max(1, abs(mine[0])) for other in others) if mine else np.inf
                lost += not mine
                assert values["mrr"][i, column] == pytest.approx(1 / rank, abs=1e-12)
                assert values["recall@1"][i, column] == (rank <= 1)
    assert lost > 20, "some originals are in cells that are not searched"
    exact = found([code], given)[code].outcomes["recall@1"].values
    assert np.nanmean(values["recall@1"]) < np.nanmean(exact)


@pytest.mark.parametrize("per_group", [1, 4])
def test_hnsw_of_few_vectors_returns_all_that_an_exact_search_does(per_group):
    given = with_missing(world(count=200, per_group=per_group, gallery=20))
    for code in ("float32", "int8"):
        name = "hnsw" if code == "float32" else f"{code}+hnsw"
        tried = found([code, name], given)
        for metric in ("recall@1", "recall@10", "neighbours@10"):
            exact, approximate = (tried[each].outcomes[metric].values for each in (code, name))
            np.testing.assert_array_equal(np.isnan(exact), np.isnan(approximate))
            assert np.nanmean(np.abs(exact - approximate)) < 0.005, (code, metric)
        assert tried[name].sizes == (tried[code].sizes[0], tried[code].sizes[1] + 256)


def test_an_original_that_is_not_returned_has_no_match():
    """FAISS returns the ten best: views of other images find none of theirs."""
    given = world(count=100, gallery=200)
    shuffled = replace(given, views=given.views[::-1].copy())
    tried = found(["hnsw"], shuffled)["hnsw"].outcomes
    is_lost = tried["mrr"].values == 0
    assert 0.3 < is_lost.mean() < 1
    assert not tried[f"matched@{RATE:g}"].values[is_lost].any()


def test_structures_need_faiss(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingExtra, match=r"the index part hnsw needs the extra 'search'"):
        found(["hnsw"], world(count=20, gallery=0))


# Maps from files.


def made_of_others():
    rng = np.random.default_rng(3)
    originals = rng.normal(size=(80, DIM)).astype(np.float32) + 0.4
    views = originals[:, None] + rng.normal(size=(80, 2, DIM)) * np.linspace(0.1, 1, DIM)
    return Training(normalised_float32(originals), normalised_float32(views.astype(np.float32)))


@pytest.fixture
def whitened(tmp_path):
    """A map that was fitted to other images and changes, and its file."""
    made = fitted_index("whiten", made_of_others())
    made.save(tmp_path / "map.npz")
    return made, tmp_path / "map.npz"


def test_a_map_of_a_file_finds_what_the_code_finds_of_mapped_vectors(whitened):
    """Another one of the same name, fitted here, stays another."""
    made, path = whitened
    given = world(count=60, gallery=80)

    def mapped(vectors):
        moved = (vectors.astype(np.float64) - made.arrays[0]["mean"]) @ made.arrays[0]["matrix"].astype(np.float64)
        return (moved / np.linalg.norm(moved, axis=-1, keepdims=True)).astype(np.float32)

    fitted_index("centred", made_of_others()).save(path.parent / "centred.npz")
    names = [f"map:{path}+int8", "centred+int8", f"map:{path.parent / 'centred.npz'}+int8"]
    tried = found(names, given)
    assert [*tried] == ["float32", *names]
    moved = replace(given, originals=mapped(given.originals), views=mapped(given.views), gallery=mapped(given.gallery))
    expected = found(["int8"], moved)["int8"].outcomes
    for metric in ("recall@1", "mrr", f"matched@{RATE:g}"):
        np.testing.assert_array_equal(tried[names[0]].outcomes[metric].values, expected[metric].values)
    for metric in ("mrr", f"matched@{RATE:g}"):
        alone = found(names[2:], given)[names[2]].outcomes[metric].values
        np.testing.assert_array_equal(tried[names[2]].outcomes[metric].values, alone)


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(40, DIM)) + 0.3
    views = {name: originals + 0.4 * rng.normal(size=originals.shape) for name in NAMES}
    return embedshift.from_vectors(originals, views, out=tmp_path / "study")


def test_a_study_tries_the_map_of_a_file_by_the_name_as_given(study, whitened, monkeypatch):
    _, path = whitened
    monkeypatch.chdir(path.parent)
    names = ["map:map.npz", "map:map.npz+binary"]
    table = study.index(names)
    assert table["index"].unique(maintain_order=True).to_list() == ["float32", *names]
    monkeypatch.chdir("/")
    again = embedshift.load(study.folder)
    assert again.index(None).equals(table), "the file of a kept table may be elsewhere"
    with pytest.raises(UsageError, match=r"^map\.npz: no such file$"):
        again.index(names)


def test_a_map_of_an_earlier_version_is_tried_and_one_of_another_encoder_refused(study, whitened, tmp_path):
    made, _ = whitened
    arrays = made.arrays[0]["mean"], made.arrays[0]["matrix"]
    encoder = study.reader().info.encoder
    embedshift.Whitening(*arrays, "shifts", encoder.weights_hash, encoder.embedding or "").save(tmp_path / "a.npz")
    embedshift.Whitening(*arrays, "shifts", "abc", "cls").save(tmp_path / "b.npz")
    assert f"map:{tmp_path}/a.npz+int8" in study.index([f"map:{tmp_path}/a.npz+int8"])["index"]
    with pytest.raises(UsageError, match=r"b\.npz: fitted to embeddings of another encoder than") as error:
        study.index([f"map:{tmp_path}/b.npz+int8"])
    assert "\n" not in str(error.value)
