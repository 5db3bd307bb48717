"""Codes of vectors: against sentence-transformers, FAISS, scikit-learn and loops; a search among them against loops."""

import faiss
import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings
from sklearn.decomposition import PCA

from embedshift.errors import UsageError
from embedshift.statistics import coded_search, codes
from embedshift.statistics.codes import Ranges
from embedshift.statistics.judged import Split, judge
from embedshift.statistics.retrieval import Gallery
from embedshift.statistics.vectors import normalised_float32

DIM = 16


def drawn(count, dim=DIM, seed=0):
    return normalised_float32(
        np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32) * np.linspace(0.5, 2, dim) + 0.3
    )


def fitted(name, vectors):
    made, left_out = codes.fit([name], vectors)
    assert not left_out
    return made[name]


def test_int8_and_binary_are_those_of_sentence_transformers_in_and_out_of_range():
    calibration, given = drawn(50), drawn(400, seed=1)
    given[:3] *= 9
    given[3] = 0
    ranges = Ranges.of(calibration)
    expected = quantize_embeddings(given, "int8", calibration_embeddings=calibration)
    np.testing.assert_array_equal(ranges.encode(given), expected)
    assert {-128, 127} <= set(ranges.encode(given).ravel().tolist())
    constant = calibration.copy()
    constant[:, 2] = 0.25
    np.testing.assert_array_equal(
        Ranges.of(constant).encode(given), quantize_embeddings(given, "int8", calibration_embeddings=constant)
    )
    signs = fitted("binary", calibration).base(given)
    np.testing.assert_array_equal(np.packbits(signs > 0, axis=-1), quantize_embeddings(given, "ubinary"))
    mean = calibration.mean(axis=0)
    centred = fitted("binary-centred", calibration)
    np.testing.assert_array_equal(
        np.packbits(centred.base(given) > 0, -1), quantize_embeddings(given - mean, "ubinary")
    )
    np.testing.assert_allclose(centred.query(given), normalised_float32(given - mean))
    outside = np.mean(
        [[not low <= x <= high for x, low, high in zip(v, ranges.low, ranges.high, strict=True)] for v in given], 1
    )
    assert ranges.outside(given) == pytest.approx(outside)


def test_int8_lies_within_a_step_of_faiss():
    calibration = drawn(300)
    ranges, quantizer = Ranges.of(calibration), faiss.ScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_8bit)
    quantizer.train(calibration)
    inside = drawn(300)
    theirs = quantizer.decode(quantizer.compute_codes(inside))
    assert (np.abs(ranges.rounded(inside) - theirs) <= 1.01 * ranges.steps).all()
    assert (np.abs(ranges.rounded(inside) - inside) <= 0.501 * ranges.steps + 1e-7).all()


def test_quantiles_float16_truncated_and_pca_are_those_of_numpy_and_scikit_learn():
    calibration, given = drawn(200), drawn(40, seed=2)
    low, high = np.quantile(calibration, (0.01, 0.99), axis=0)
    quantile = fitted("int8-quantile", calibration)
    assert np.abs(quantile.base(given) - np.clip(given, low, high)).max() <= ((high - low) / 255).max()
    np.testing.assert_array_equal(fitted("float16", calibration).base(given), given.astype(np.float16))
    np.testing.assert_allclose(fitted("truncated-4", calibration).base(given), normalised_float32(given[:, :4]))
    pca = PCA(5, svd_solver="full").fit(calibration)
    made, theirs = fitted("pca-5", calibration), normalised_float32(pca.transform(given).astype(np.float32))
    np.testing.assert_allclose(made.base(given) @ made.query(given).T, theirs @ theirs.T, atol=1e-5)
    rounded = fitted("pca-5+int8", calibration)
    # Saturated where a number lies outside.
    assert np.median(np.abs(rounded.base(given) - rounded.query(given))) < 0.005
    dot = fitted("int8-dot", calibration)
    np.testing.assert_array_equal(dot.base(given), Ranges.of(calibration).encode(given))


def test_pq_is_that_of_faiss():
    calibration, given = drawn(600), drawn(30, seed=3)
    quantizer = faiss.ProductQuantizer(DIM, 4, 8)
    quantizer.train(calibration)
    expected = quantizer.decode(quantizer.compute_codes(given))
    np.testing.assert_array_equal(fitted("pq-4", calibration).base(given), expected)


@pytest.mark.parametrize(
    ("name", "searched", "stored"),
    [
        ("float32", 64, 64), ("float16", 32, 32), ("int8", 16, 16), ("binary", 2, 2), ("binary+rescore", 2, 18),
        ("binary-centred-hamming", 2, 2), ("pca-4", 16, 16), ("pca-4+int8", 4, 4), ("truncated-8", 32, 32),
        ("pq-4", 4, 4), ("hnsw", 64, 320), ("ivf+int8", 16, 24),
    ],
)  # fmt: skip
def test_bytes_of_a_vector(name, searched, stored):
    code = fitted(name, drawn(300))
    assert (code.searched, code.stored) == (searched, stored)


def test_what_cannot_be_fitted_is_left_out_with_a_reason():
    made, left_out = codes.fit(["float32", "pca-8", "pq-4"], drawn(8))
    assert list(made) == ["float32"]
    assert left_out == {
        "pca-8": "it is fitted to more than 8 originals, and there are 8",
        "pq-4": "it is fitted to 256 originals or more, and there are 8",
    }
    for name, words in {
        "int4": "no code 'int4'",
        "pca-17": "embeddings have 16 numbers",
        "pq-5": "M must divide",
    }.items():
        with pytest.raises(UsageError, match=words):
            codes.checked([name], DIM)
    assert codes.checked(["int8", "float32", "int8"], DIM) == ("float32", "int8")
    assert len(codes.default_names(DIM)) >= 8


def loop(code, query, own, originals, groups, k=10):
    """By hand: the scores of one query, the own first; what comes before it, the best other and the nearest."""
    scores = [float(code.query(query[None])[0] @ code.base(original[None])[0]) for original in originals]
    others = [i for i in range(len(originals)) if i != own and (groups is None or groups[i] != groups[own])]
    if code.candidates is not None:
        first = code.candidates
        near = [float(first.query(query[None])[0] @ first.base(original[None])[0]) for original in originals]
        kept = sorted([*others, own], key=lambda i: (-near[i], i))[: 10 * k]
        others = [i for i in others if i in kept]
        if own not in kept:
            return np.nan, np.inf, max(scores[i] for i in others), sorted(others, key=lambda i: (-scores[i], i))[:k]
    before = sum(scores[i] >= scores[own] - 1e-6 * abs(scores[own]) for i in others)
    return scores[own], before, max(scores[i] for i in others), sorted(others, key=lambda i: (-scores[i], i))[:k]


@pytest.mark.parametrize(
    "name", ["float32", "int8", "int8-dot", "binary-hamming", "binary-centred+rescore", "pca-6+int8"]
)
@pytest.mark.parametrize("grouped", [False, True])
def test_a_search_is_that_of_a_loop(name, grouped, monkeypatch):
    monkeypatch.setattr("embedshift.statistics.retrieval.BLOCK", 37)
    monkeypatch.setattr("embedshift.statistics.coded_search.PER_RESULT", 10)
    originals = drawn(130)
    originals[7] = originals[9]
    groups = np.arange(130) // 3 if grouped else None
    queries = normalised_float32(originals[:25] + 0.25 * drawn(25, seed=5))
    code, own = fitted(name, originals[25:]), np.arange(25)
    found = coded_search.search(code, queries, own, Gallery.of(originals, groups))
    for row in range(25):
        score, before, other, nearest = loop(code, queries[row], row, originals, groups)
        assert found.own[row] == pytest.approx(score, rel=1e-4, abs=1e-5, nan_ok=True)
        assert found.before[row] == before
        assert found.other[row] == pytest.approx(other, rel=1e-4, abs=1e-5)
        exact = [code.query(queries[row : row + 1])[0] @ code.base(originals[i : i + 1])[0] for i in nearest]
        theirs = [
            code.query(queries[row : row + 1])[0] @ code.base(originals[i : i + 1])[0] for i in found.nearest[row]
        ]
        assert theirs == pytest.approx(exact, rel=1e-4, abs=1e-5)


def evaluated(names, originals, views, groups=None, gallery=None):
    own = np.arange(len(views)) if groups is None else groups[: len(views)]
    split = Split.of(own, {f"a{k}": f"a{k}" for k in range(views.shape[2])})
    searched = Gallery.of(originals if gallery is None else np.concatenate([originals, gallery]), groups)
    return dict(coded_search.evaluate(names, searched, views, split))


def changed(originals, strength, seed=6, kinds=2):
    rng = np.random.default_rng(seed)
    shape = (len(originals), 1, kinds, originals.shape[1])
    return (originals[:, None, None] + strength * rng.normal(size=shape) / np.sqrt(originals.shape[1])).astype(
        np.float32
    )


def test_outcomes_of_sixty_images_are_those_of_loops_and_of_codes_that_did_not_see_them():
    originals = drawn(60)
    views = changed(originals, 0.9)
    views[4, 0, 1] = np.nan
    found = evaluated(["float32", "int8", "binary-hamming"], originals, views)
    for name in found:
        for image in range(60):
            fold = np.flatnonzero(np.arange(60) % 5 == image % 5)
            code = fitted(name, originals[np.setdiff1d(np.arange(60), fold)])
            for kind in range(2):
                values = {
                    metric: found[name].outcomes[metric].values[image, 0, kind] for metric in coded_search.METRICS
                }
                if (image, kind) == (4, 1):
                    assert np.isnan([*values.values()]).all()
                    continue
                query = normalised_float32(views[image, 0, kind][None])[0]
                _, before, _, nearest = loop(code, query, image, originals, None)
                assert (values["recall@1"], values["recall@10"]) == (before < 1, before < 10)
                exact = loop(fitted("float32", originals), query, image, originals, None)[3]
                if name != "binary-hamming":  # which has ties
                    assert values["neighbours@10"] == pytest.approx(len({*nearest} & {*exact}) / 10, abs=0.101)
                assert np.isnan(values["matched@0.001"]), "a rate of 0.001 takes 142 images"
    assert np.isnan(found["float32"].outcomes["lead"].values).all()
    assert found["int8"].outside.shape == (2,)


def test_float32_loses_nothing_and_a_threshold_lets_one_pair_in_a_thousand_match():
    originals = drawn(300)
    views = changed(originals, 0.7)
    found = evaluated(["float32", "float16", "int8"], originals, views)
    base = found["float32"].outcomes
    for metric in ("recall@1", "recall@10", "matched@0.001", "neighbours@10"):
        same = judge(base[metric], base[metric], seed=0)
        assert (same.difference == 0).all()
    matched = []
    for fold in range(5):
        inside = np.flatnonzero(np.arange(300) % 5 == fold)
        cosines = normalised_float32(originals[inside]) @ normalised_float32(originals).T
        cosines[np.arange(60), inside] = np.nan
        pairs = np.sort(cosines[np.isfinite(cosines)])[::-1]
        limit = pairs[int(0.001 * len(pairs)) - 1]
        own = (normalised_float32(views[inside, 0, 0]) * normalised_float32(originals[inside])).sum(axis=1)
        matched += (own >= limit - 1e-6).tolist()
    assert np.nanmean(base["matched@0.001"].values[:, 0, 0]) == pytest.approx(np.mean(matched), abs=0.011)
    lead = found["int8"].outcomes["lead"].values
    assert np.nanmean(lead) > np.nanmean(
        evaluated(["float32", "pca-2"], originals, views)["pca-2"].outcomes["lead"].values
    )


def test_a_wrap_is_seen(monkeypatch):
    """Values outside the calibration that wrap, as those of a store did, lose images; `outside` says how many."""
    originals = drawn(200)
    views = changed(originals, 0.5)
    gallery = 1.6 * changed(originals, 0.3, seed=8, kinds=1)[:, 0, 0]
    good = evaluated(["float32", "int8"], originals, views)

    def wrapped(self, vectors):
        steps = np.floor((vectors - self.low) / self.steps).astype(np.int64)
        return ((steps % 256) - 128).astype(np.int8)

    monkeypatch.setattr(Ranges, "encode", wrapped)
    monkeypatch.setattr(
        Ranges, "of", classmethod(lambda kind, v, q=(0.3, 0.7): kind(*np.quantile(v, (0.3, 0.7), axis=0).astype("f4")))
    )
    bad = evaluated(["float32", "int8"], originals, views)
    losses = [
        judge(each["float32"].outcomes["recall@1"], each["int8"].outcomes["recall@1"], seed=0) for each in (good, bad)
    ]
    assert losses[0].difference[-1] > -0.02
    assert losses[1].difference[-1] < -0.2
    assert bad["int8"].outside.mean() > 0.4 > 0.05 > good["int8"].outside.mean()
    assert len(gallery)


@pytest.mark.parametrize("name", ["hnsw", "ivf", "hnsw+int8", "ivf+int8"])
def test_an_index_loses_only_what_it_does_not_return(name, monkeypatch):
    originals = drawn(400)
    views = changed(originals, 0.6)
    found = evaluated(["float32", name], originals, views)
    before, after = (found[each].outcomes["recall@1"].values for each in ("float32", name))
    assert after.mean() <= before.mean() + 0.01
    real = coded_search.built

    def everything(code, gallery, trained_on):
        index = real(code, gallery, trained_on)
        if code.name.startswith("ivf"):
            index.nprobe = index.nlist
        return index

    monkeypatch.setattr(coded_search, "built", everything)
    if name == "ivf":
        whole = evaluated(["float32", name], originals, views)
        np.testing.assert_array_equal(whole["ivf"].outcomes["recall@1"].values, before)


def test_codes_are_fitted_to_a_gallery_too_and_never_to_the_groups_that_they_are_judged_by():
    originals, seen = drawn(40), []
    groups = np.arange(40) // 4
    real = codes.fit

    def fit(names, vectors):
        seen.append(vectors)
        return real(names, vectors)

    coded_search.fit = fit
    try:
        evaluated(
            ["float32", "int8"],
            originals,
            changed(originals, 0.3),
            np.append(groups, 10 + np.arange(25)),
            drawn(25, seed=9),
        )
    finally:
        coded_search.fit = real
    assert {len(vectors) for vectors in seen} == {57}
    for fold, vectors in enumerate(seen[:5]):
        held = {tuple(row) for row in originals[groups % 5 == fold].round(5).tolist()}
        assert not held & {tuple(row) for row in vectors.round(5).tolist()}
