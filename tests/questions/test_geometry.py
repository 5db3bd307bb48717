"""Numbers of the set: against loops, scipy and the studies that hold little."""

import itertools

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial import distance

from embedshift.questions.geometry import tables
from embedshift.questions.geometry.tables import effective_rank, jackknife, nearest_cosine, uniformity
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import estimates_from_values
from support import studies
from support.synthetic import make_study

RNG = np.random.default_rng(0)
SETS = {
    "fewer than dimensions": RNG.normal(size=(9, 20)) + 1,
    "more than dimensions": RNG.normal(size=(40, 6)) * np.arange(1, 7),
    "two": RNG.normal(size=(2, 5)),
    "on a plane": RNG.normal(size=(30, 2)) @ RNG.normal(size=(2, 12)),
}


@pytest.mark.parametrize("vectors", SETS.values(), ids=SETS)
def test_spread_equals_loops_and_scipy(vectors):
    units = [v / np.sqrt((v * v).sum()) for v in vectors]
    pairs = [np.exp(-2 * ((u - v) ** 2).sum()) for u, v in itertools.combinations(units, 2)]
    assert uniformity(vectors) == pytest.approx(np.log(sum(pairs) / len(pairs)), abs=1e-12)
    singular = linalg.svdvals(vectors)
    fractions = singular[singular > 1e-9] / singular.sum()
    assert effective_rank(vectors) == pytest.approx(np.exp(stats.entropy(fractions)), abs=1e-6)
    cosines = 1 - distance.cdist(vectors, vectors, "cosine")
    nearest = [max(cosines[i, j] for j in range(len(units)) if j != i) for i in range(len(units))]
    assert nearest_cosine(vectors) == pytest.approx(np.mean(nearest), abs=1e-12)


def test_spread_of_what_has_none():
    assert effective_rank(np.ones((5, 3))) == pytest.approx(1, abs=1e-6)
    assert effective_rank(np.eye(7)) == pytest.approx(7)
    assert uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-12)
    assert uniformity([[1.0, 0], [-1.0, 0]]) == pytest.approx(-8)
    for function in (uniformity, nearest_cosine):
        assert np.isnan(function(np.ones((1, 3))))
        assert np.isnan(function(np.zeros((5, 3))))
        assert function([[0.0, 0], [1, 1], [1, 0]]) == function([[1.0, 1], [1, 0]])
    assert np.isnan(effective_rank(np.zeros((5, 3))))


def test_the_jackknife_equals_loops_and_gives_the_t_interval_of_a_mean():
    vectors = SETS["more than dimensions"]
    values = [uniformity(np.array([v for i, v in enumerate(vectors) if i % 8 != g])) for g in range(8)]
    error = np.sqrt(7 / 8 * sum((value - np.mean(values)) ** 2 for value in values))
    far = stats.t(7).ppf(0.975) * error
    assert jackknife(uniformity, vectors) == pytest.approx((uniformity(vectors) - far, uniformity(vectors) + far))
    # Of unequal parts: pseudo-values that count by their sizes.
    part, full = np.arange(29) % 8, effective_rank(vectors[:29])
    sizes = [29 / np.sum(part == k) for k in range(8)]
    pseudo = [h * full - (h - 1) * effective_rank(vectors[:29][part != k]) for k, h in enumerate(sizes)]
    variance = np.mean([(value - np.mean(pseudo)) ** 2 / (h - 1) for value, h in zip(pseudo, sizes, strict=True)])
    far = stats.t(7).ppf(0.975) * np.sqrt(variance)
    assert jackknife(effective_rank, vectors[:29]) == pytest.approx((full - far, full + far))
    eight = vectors[:8, :1]
    wanted = stats.t.interval(0.95, 7, eight.mean(), eight.std(ddof=1) / np.sqrt(8))
    assert jackknife(lambda part: float(part.mean()), eight) == pytest.approx(wanted)
    assert np.isnan(jackknife(uniformity, vectors[:7])).all()


@pytest.mark.matrix
@pytest.mark.slow
def test_the_interval_of_uniformity_covers():
    """The truth by 4,000 vectors; normal vectors around a mean, 40 at a time."""
    rng = np.random.default_rng(5)
    truth = uniformity(rng.normal(size=(4000, 6)) + 0.7)
    held = 0
    for _ in range(300):
        low, high = jackknife(uniformity, rng.normal(size=(40, 6)) + 0.7)
        held += low <= truth <= high
    assert held / 300 > 0.9


@pytest.fixture(scope="module")
def study():
    return studies.synthetic(30, ["noise", "blur"], draws=2, shard_size=8)


def cell(table, views, metric):
    return table.filter(views=views, metric=metric).select("value", "ci_low", "ci_high").row(0)


@pytest.mark.slow
def test_the_table_holds_the_statistics_of_the_first_images(study):
    table, rows = study.table("geometry"), study.rows().collect()
    assert table["views"].unique(maintain_order=True).to_list() == ["original", "noise", "blur"]
    original = rows.filter(view="original")["embedding"].to_numpy().astype(float)
    for name in ("original", "noise", "blur"):
        vectors = rows.filter(view=name, draw=0)["embedding"].to_numpy().astype(float)
        for metric, function in (("uniformity", uniformity), ("effective_rank", effective_rank)):
            assert cell(table, name, metric) == pytest.approx((function(vectors), *jackknife(function, vectors)))
        if name == "original":
            assert cell(table, name, "nearest_cosine") == (pytest.approx(nearest_cosine(vectors)), None, None)
            continue
        ratio = np.array([np.sqrt((v * v).sum() / (u * u).sum()) for u, v in zip(original, vectors, strict=True)])
        assert cell(table, name, "norm_ratio")[0] == pytest.approx(ratio.mean())
        every = rows.filter(view=name)["embedding"].to_numpy().astype(float).reshape(30, 2, -1)
        far = [
            np.mean([((v / np.linalg.norm(v) - u / np.linalg.norm(u)) ** 2).sum() for v in draws])
            for u, draws in zip(original, every, strict=True)
        ]
        value, low, high = cell(table, name, "alignment")
        assert value == pytest.approx(np.mean(far), abs=1e-12)
        ends = mean_interval(estimates_from_values(np.array(far)[:, None]), seed=0)
        assert (low, high) == pytest.approx([end.item() for end in ends])
        assert low < value < high


def test_only_the_vectors_of_the_first_images_are_read(study, monkeypatch):
    monkeypatch.setattr(tables, "OF_A_SET", 11)
    rows = study.rows().collect()
    ids = rows["image_id"].unique(maintain_order=True).to_list()[:11]
    table = tables.geometry(study.reader())
    first = rows.filter(rows["image_id"].is_in(ids), view="blur", draw=0)["embedding"].to_numpy()
    assert cell(table, "blur", "uniformity")[0] == pytest.approx(uniformity(first))
    # Alignment is of all images.
    assert cell(table, "blur", "alignment") == cell(study.table("geometry"), "blur", "alignment")


@pytest.mark.slow
def test_few_images_of_few_dimensions_stay_within_what_is_possible_and_one_has_no_interval(tmp_path):
    table = make_study(tmp_path / "study", 9, ["noise"], dim=2).geometry()
    ends = table.filter(metric="uniformity").select("ci_low", "ci_high").to_numpy()
    assert ((ends >= -8) & (ends <= 0)).all()
    assert min(table.filter(metric="effective_rank")["ci_low"]) >= 1
    one = make_study(tmp_path / "one", 1, ["noise"])
    assert one.table("geometry").drop_nulls("value")["metric"].to_list() == [
        "effective_rank", "alignment", "effective_rank", "norm_ratio",
    ]  # fmt: skip
    assert one.table("geometry")["ci_low"].null_count() == 7
    section = one.report(figures=[]).read_text().partition('<section id="geometry"')[2]
    assert "use one view per augmentation of 1 image, drawn by the seed" in " ".join(section.split())
