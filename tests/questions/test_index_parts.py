"""The parts of an index: against sentence-transformers, scikit-learn, SciPy, FAISS and NumPy."""

import sys
from dataclasses import replace

import faiss
import numpy as np
import pytest
import scipy
from sentence_transformers.util.quantization import quantize_embeddings
from sklearn.decomposition import PCA

from embedshift.errors import MissingExtra, UsageError
from embedshift.statistics.index import Fits, SearchIndex, fitted_index
from embedshift.statistics.index_parts import PARTS, Training, default_indexes, parse, uses_views
from embedshift.statistics.vectors import normalised_float32

pytestmark = pytest.mark.slow

DIM = 24
RNG = np.random.default_rng(4)
SKEW = RNG.normal(size=(DIM, DIM))


def drawn(count, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    return normalised_float32(rng.normal(size=(count, DIM)) * spread * np.linspace(0.4, 2, DIM) + 0.4)


def training(count=120, views=3):
    originals = drawn(count)
    noise = np.random.default_rng(8).normal(size=(count, views, DIM)) @ SKEW
    seen = normalised_float32(originals[:, None] + 0.05 * noise)
    seen[5, 1] = seen[17] = 0
    return Training(originals, seen)


GIVEN = drawn(300, seed=1, spread=2.5)


def test_int8_is_that_of_sentence_transformers_in_and_out_of_range():
    fitted_to = training()
    ranges = np.stack([fitted_to.originals.min(axis=0), fitted_to.originals.max(axis=0)])
    made = fitted_index("int8", fitted_to).base(GIVEN)
    np.testing.assert_array_equal(made, quantize_embeddings(GIVEN, "int8", ranges=ranges))
    assert made.dtype == np.int8
    assert {-128, 127} <= set(made.ravel().tolist())
    outside = ((ranges[0] > GIVEN) | (ranges[1] < GIVEN)).mean()
    assert outside > 0.01, "some values saturate"


def test_a_constant_dimension_is_that_of_sentence_transformers():
    """Its step is 1."""
    constant = training()
    constant.originals[:, 2] = 0.25
    expected = quantize_embeddings(GIVEN, "int8", calibration_embeddings=constant.originals)
    np.testing.assert_array_equal(fitted_index("int8", constant).base(GIVEN), expected)


def test_int8_stands_for_the_middle_of_its_step():
    index = fitted_index("int8", training())
    low, high = training().originals.min(axis=0), training().originals.max(axis=0)
    away = np.abs(index.stands_for(GIVEN) - np.clip(GIVEN, low, high))
    assert (away <= (high - low) / 255 * 0.51 + 1e-7).all()


def test_binary_is_that_of_sentence_transformers_and_queries_stay_as_they_are():
    index = fitted_index("binary", training())
    np.testing.assert_array_equal(index.base(GIVEN), quantize_embeddings(GIVEN, "ubinary"))
    np.testing.assert_allclose(index.query(GIVEN), GIVEN, atol=1e-6)
    expected = GIVEN[:9].astype(np.float64) @ np.where(GIVEN > 0, 1.0, -1.0).T
    np.testing.assert_allclose(index.scores(index.query(GIVEN[:9]), index.base(GIVEN)), expected, atol=1e-5)
    mean = training().originals.mean(axis=0)
    centred = fitted_index("centred+binary", training()).base(GIVEN)
    np.testing.assert_array_equal(centred, quantize_embeddings(GIVEN - mean, "ubinary"))


def test_binary_hamming_scores_are_dimensions_less_twice_the_hamming_distance():
    index = fitted_index("binary-hamming", training())
    bits, asked = index.base(GIVEN), GIVEN[:40] + 0.1
    scores = index.scores(index.query(asked), bits)
    differing = np.unpackbits(quantize_embeddings(normalised_float32(asked), "ubinary")[:, None] ^ bits, axis=2)
    np.testing.assert_array_equal(scores, DIM - 2 * differing.sum(axis=2, dtype=np.int64))


def test_binary_reads_the_bits_of_a_number_of_dimensions_that_is_no_multiple_of_eight():
    index = fitted_index("first-13+binary-hamming", training())
    stored = index.base(GIVEN)
    assert (stored.shape[1], index.bytes_searched) == (2, 2)
    own = index.scores(index.query(GIVEN), stored).diagonal()
    assert (own == 13).all()


def given_to_faiss(size):
    quantizer = faiss.ProductQuantizer(DIM, size, 8)
    quantizer.cp.min_points_per_centroid = 1
    quantizer.train(training(300).originals)
    return quantizer


@pytest.mark.parametrize("size", [4, 12])
def test_pq_has_the_codes_and_vectors_of_faiss(size):
    quantizer, index = given_to_faiss(size), fitted_index(f"pq-{size}", training(300))
    codes, theirs = index.base(GIVEN), quantizer.compute_codes(GIVEN)
    np.testing.assert_array_equal(codes, theirs)
    assert (codes.dtype, codes.shape) == (np.uint8, (300, size))
    scores = index.scores(index.query(GIVEN[:9]), codes)
    np.testing.assert_allclose(scores, GIVEN[:9] @ quantizer.decode(theirs).T, atol=1e-5)


def test_pq_after_a_map_is_trained_on_mapped_vectors():
    moved = fitted_index("centred", training(300)).base(training(300).originals)
    quantizer = faiss.ProductQuantizer(DIM, 6, 8)
    quantizer.cp.min_points_per_centroid = 1
    quantizer.train(moved)
    given = fitted_index("centred", training(300)).base(GIVEN)
    np.testing.assert_array_equal(
        fitted_index("centred+pq-6", training(300)).base(GIVEN), quantizer.compute_codes(given)
    )


def test_pq_needs_faiss_to_be_fitted_but_not_to_be_read(monkeypatch, tmp_path):
    index = fitted_index("pq-6", training(300))
    index.save(tmp_path / "a.npz")
    monkeypatch.setitem(sys.modules, "faiss", None)
    read = SearchIndex.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.base(GIVEN), index.base(GIVEN))
    with pytest.raises(MissingExtra, match=r"the index part pq-N needs the extra 'search'"):
        fitted_index("pq-6", training(300))


def test_float16_and_first_are_those_of_numpy():
    np.testing.assert_array_equal(fitted_index("float16", training()).base(GIVEN), GIVEN.astype(np.float16))
    first = GIVEN[:, :6].astype(np.float64)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    for name in ("first-6", "first-1/4"):
        np.testing.assert_allclose(fitted_index(name, training()).base(GIVEN), first, atol=1e-6)


@pytest.mark.parametrize("name", ["pca-5", "pca-1/4", "whiten+pca-7"])
def test_pca_is_that_of_scikit_learn_up_to_the_sign(name):
    index, size = fitted_index(name, training()), 6 if "1/4" in name else int(name[-1])
    start = (training().originals, GIVEN)
    if name.startswith("whiten"):
        start = tuple(fitted_index("whiten", training()).base(each) for each in start)
    theirs = PCA(size, svd_solver="full").fit(start[0].astype(np.float64)).transform(start[1])
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    ours = index.base(GIVEN)
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * signs, theirs, atol=2e-4)


def test_whiten_is_an_inverse_square_root_of_the_shifts_with_a_tenth_of_their_mean_variance():
    fitted_to = training()
    shifts = [
        np.float64(view) - original
        for original, views in zip(fitted_to.originals.astype(np.float64), fitted_to.views, strict=True)
        for view in views
        if view.any()
    ]
    assert len(shifts) == 3 * 120 - 4
    second = sum(np.outer(shift, shift) for shift in shifts) / len(shifts)
    centred = fitted_to.originals.astype(np.float64) - fitted_to.originals.mean(axis=0, dtype=np.float64)
    for name, moment in (("whiten", second), ("whiten-originals", centred.T @ centred / 120)):
        root = scipy.linalg.sqrtm(np.linalg.inv(moment + 0.1 * np.trace(moment) / DIM * np.eye(DIM))).real
        moved = (GIVEN - fitted_to.originals.mean(axis=0, dtype=np.float64)) @ root
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        index = fitted_index(name, fitted_to)
        np.testing.assert_allclose(index.scores(index.query(GIVEN), index.base(GIVEN)), moved @ moved.T, atol=1e-4)
        white = index.arrays[0]["matrix"].T.astype(np.float64) @ moment @ index.arrays[0]["matrix"]
        assert np.ptp(np.linalg.eigvalsh(white)) < np.ptp(np.linalg.eigvalsh(moment / np.trace(moment) * DIM)) / 2


def test_a_view_that_is_missing_stays_so_after_a_map():
    fitted_to = training()
    index = fitted_index("whiten", fitted_to)
    moved = fitted_to.mapped(index.moved)
    is_missing = ~moved.views.any(axis=2)
    assert is_missing.sum() == 4
    assert is_missing[5, 1]
    assert is_missing[17].all()


def test_each_part_is_fitted_to_what_the_part_before_it_makes():
    seen = dict[str, Training]()
    fits = Fits(training())
    real = {name: PARTS[name] for name in ("pca-N", "int8")}

    def recording(name):
        def fit(given, size):
            seen[name] = given
            return real[name].fit(given, size)

        return replace(real[name], fit=fit)

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setitem(PARTS._entries, name, recording(name))
        assert fits("whiten+pca-1/4+int8").dim_kept == 6
    expected = fitted_index("whiten", training()).base(training().originals)
    np.testing.assert_allclose(seen["pca-N"].originals, expected, atol=1e-6)
    expected = fitted_index("whiten+pca-1/4", training()).base(training().originals)
    np.testing.assert_allclose(seen["int8"].originals, expected, atol=1e-6)
    assert seen["int8"].views.shape == (120, 3, 6)


def test_levels_are_half_of_the_mean_of_the_ten_highest_scores_with_the_background():
    index = fitted_index("centred+normalised", training(240))
    plain = fitted_index("centred", training(240))
    asked, stored = plain.query(GIVEN[:20] + 0.2).astype(np.float64), plain.base(GIVEN).astype(np.float64)
    background = plain.base(training(240).originals[:200]).astype(np.float64)
    levels = [
        np.array([np.mean(sorted(float(x @ b) for b in background)[-10:]) / 2 for x in each])
        for each in (asked, stored)
    ]
    expected = asked @ stored.T - levels[0][:, None] - levels[1]
    np.testing.assert_allclose(index.scores(index.query(GIVEN[:20] + 0.2), index.base(GIVEN)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "searched", "stored"),
    [
        ("float32", 256, 256), ("float16", 128, 128), ("int8", 64, 64), ("binary", 8, 8), ("binary+rescore", 8, 72),
        ("pca-1/4", 64, 64), ("whiten+pca-1/4+int8", 16, 16), ("first-10+binary", 2, 2), ("normalised", 260, 260),
        ("binary+normalised", 12, 12), ("pq-16", 16, 16), ("first-1/2+pq-8+rescore", 8, 40), ("hnsw", 256, 512),
        ("whiten+binary+ivf", 8, 16), ("tiles+int8", 64, 64),
        ("whiten-originals+first-12+binary-hamming+rescore+normalised", 6, 18),
    ],
)  # fmt: skip
def test_bytes_of_a_vector_of_64_numbers(name, searched, stored):
    index = SearchIndex(name, 64, [{}] * len(parse(name, 64)))
    assert (index.bytes_searched, index.bytes_stored) == (searched, stored)


def test_a_store_keeps_as_many_bytes_as_it_says():
    names = ("float16", "int8", "binary", "int8+rescore", "float16+rescore", "binary+rescore", "pca-1/4+binary+rescore")
    for name in (*names, *default_indexes(DIM)):
        index = fitted_index(name, training())
        assert index.base(GIVEN[:7]).nbytes == 7 * index.bytes_stored


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("binary+whiten", "whiten comes after binary; the order is vectors of an image, map, size, code"),
        ("pca-4+first-3", "first-3 comes after pca-4"), ("int8+binary", "binary comes after int8"),
        ("whiten+whiten", "whiten comes after whiten"), ("normalised+binary", "binary comes after normalised"),
        ("int4", "no part 'int4'; there are tiles, tiles-mean"), ("", "no part ''"), ("whiten+", "no part ''"),
        ("float32+int8", "no part 'float32'"), ("in\nt8", "no part 'in"), ("pca-", "no part 'pca-'"),
        ("pca--4", "no part 'pca--4'"),
        ("first-65", "first-65: the vectors have 64 numbers"), ("pca-0", "pca-0: the vectors have 64 numbers"),
        ("pca-1/0", "pca-1/0: the vectors have 64 numbers"), ("first-1/00", "the vectors have 64 numbers"),
        ("first-1/65", "the vectors have 64 numbers"), ("pca-" + "9" * 5000, "the vectors have 64 numbers"),
        ("pq-5", "pq-5: N must divide the 64 numbers of the vectors"), ("pq-65", "pq-65: the vectors have 64 numbers"),
        ("first-10+pq-4", "pq-4: N must divide the 10 numbers"), ("pq-1/4", "no part 'pq-1/4'"),
        ("hnsw+binary", "binary comes after hnsw"), ("binary+tiles", "tiles comes after binary"),
        ("tiles+hnsw", "hnsw is not combined with tiles"), ("binary+rescore+ivf", "ivf is not combined with rescore"),
        ("int8+normalised+hnsw", "hnsw is not combined with normalised"), ("tiles+tiles-mean", "comes after tiles"),
        ("whiten+rescore", "`rescore` takes its candidates by a code"), ("rescore+normalised", "takes its candidates"),
    ],
)  # fmt: skip
def test_a_text_that_names_no_index_is_refused_in_one_line(text, words):
    with pytest.raises(UsageError) as error:
        parse(text, 64)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_a_text_names_its_parts_and_sizes():
    assert [(part.text, part.size) for part in parse(" whiten + first-1/3+binary +rescore", 64)] == [
        ("whiten", 0), ("first-1/3", 21), ("binary", 0), ("rescore", 0),
    ]  # fmt: skip
    assert parse("float32", 64) == ()
    assert [name for name in default_indexes(64) if uses_views(parse(name, 64))] == [
        "whiten", "whiten+int8", "whiten+binary", "whiten+pca-1/4",
    ]  # fmt: skip
    assert all(parse(name, 3) for name in default_indexes(3))


def test_what_cannot_be_fitted_says_why():
    with pytest.raises(UsageError, match=r"'pca-20': pca-20 is fitted to 21 originals or more, and there are 12"):
        fitted_index("pca-20", Training(drawn(12), np.zeros((12, 0, DIM), np.float32)))
    with pytest.raises(UsageError, match=r"pq-6 is fitted to 256 originals or more, and there are 120"):
        fitted_index("pq-6", training())
    with pytest.raises(UsageError, match=r"'whiten\+int8': whiten is fitted to views of a second family of changes"):
        fitted_index("whiten+int8", Training(drawn(12), np.zeros((12, 1, DIM), np.float32)))
