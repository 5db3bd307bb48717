"""The file of an index: what is read makes what was written make, and what is no index is refused in one line."""

import os
import re

import numpy as np
import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.index import SearchIndex, fitted_index
from embedshift.statistics.index_parts import Training, default_indexes
from embedshift.statistics.linear_map import LinearMap
from embedshift.statistics.vectors import normalised_float32
from support.matrix import first_only

DIM = 16
RNG = np.random.default_rng(2)
ORIGINALS = normalised_float32(RNG.normal(size=(60, DIM)).astype(np.float32) + 0.2)
TRAINING = Training(
    ORIGINALS, normalised_float32(ORIGINALS[:, None] + 0.2 * RNG.normal(size=(60, 2, DIM)).astype(np.float32))
)
GIVEN = RNG.normal(size=(25, DIM)).astype(np.float32)
NAMES = [
    "whiten+binary+rescore+normalised", "float32", "normalised", "whiten-originals+first-5+binary-hamming",
    "int8+normalised", "centred+pca-1/4+float16+rescore",
    *(f"{name}{more}" for name in default_indexes(DIM) for more in ("", "+normalised")),
    *(f"{name}+rescore" for name in ("float16", "int8", "binary", "binary-hamming", "whiten+int8")),
]  # fmt: skip


@pytest.mark.parametrize("name", first_only(NAMES))
def test_an_index_that_is_read_makes_what_the_written_one_makes(name, tmp_path):
    made = fitted_index(name, TRAINING)
    made = SearchIndex(name, DIM, made.arrays, made.background, "0123abc", "cls", "9.9.9")
    made.save(tmp_path / "a.index")
    read = SearchIndex.load(tmp_path / "a.index")
    assert repr(read) == repr(made)
    assert (read.name, read.dim, read.encoder, read.embedding, read.version) == (name, DIM, "0123abc", "cls", "9.9.9")
    assert (read.bytes_searched, read.bytes_stored, read.dim_kept) == (
        made.bytes_searched, made.bytes_stored, made.dim_kept,
    )  # fmt: skip
    for function in ("base", "query"):
        ours, theirs = (getattr(index, function)(GIVEN) for index in (read, made))
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    scores = [index.scores(index.query(GIVEN), index.base(ORIGINALS)) for index in (read, made)]
    np.testing.assert_array_equal(*scores)
    assert np.isfinite(scores[0]).all()


@pytest.mark.parametrize(
    ("earlier", "now"), [("shifts", "whiten"), ("originals", "whiten-originals"), ("centred", "centred")]
)
def test_a_map_of_an_earlier_version_is_read(earlier, now, tmp_path):
    matrix = np.eye(DIM) if earlier == "centred" else RNG.normal(size=(DIM, DIM))
    given = embedshift.Whitening(ORIGINALS.mean(axis=0), matrix.astype(np.float32), earlier, "abc", "cls", "0.3.0")
    given.save(tmp_path / "map.npz")
    read = SearchIndex.load(tmp_path / "map.npz")
    assert (read.name, read.dim, read.encoder, read.embedding, read.version) == (now, DIM, "abc", "cls", "0.3.0")
    asked = GIVEN.copy()
    asked[3] = 0
    for function in (read.base, read.query):
        np.testing.assert_allclose(function(asked), given(asked), atol=1e-6)
    np.testing.assert_allclose(
        read.scores(read.query(asked), read.base(GIVEN)), given(asked) @ given(GIVEN).T, atol=1e-5
    )


MANY = Training(normalised_float32(RNG.normal(size=(300, DIM))), np.zeros((300, 0, DIM), np.float32))
CENTROIDS = fitted_index("pq-4", MANY).arrays[0]["centroids"]


def contents(name="whiten+int8+normalised", training=TRAINING, **changed):
    """What a file holds; None = without."""
    made = fitted_index(name, training)
    arrays = {f"{place}.{key}": each for place, part in enumerate(made.arrays) for key, each in part.items()}
    if made.background is not None:
        arrays["background"] = made.background
    whole = {"index": name, "dim": DIM, "encoder": "", "embedding": "", "embedshift": "", **arrays, **changed}
    return {key: each for key, each in whole.items() if each is not None}


def written(**changed):
    return lambda path: np.savez(path.open("wb"), **contents(**changed))


def cut(path):
    fitted_index("whiten", TRAINING).save(path)
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_middle(path):
    fitted_index("whiten", TRAINING).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path):
    fitted_index("whiten", TRAINING).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))


def upgrade(path):
    LinearMap(ORIGINALS[0], np.eye(DIM, dtype=np.float32), "ridge", offset=ORIGINALS[1]).save(path)


def with_nan(array):
    changed = np.array(array)
    changed[..., 1] = np.nan
    return changed


WHOLE = contents()
WRONG = {
    "cut": cut,
    "cut in the middle": cut_in_the_middle,
    "flipped": flipped,
    "a text": lambda path: path.write_text("whiten+int8\nof an encoder\n"),
    "empty": lambda path: path.write_bytes(b""),
    "a FIFO": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "one array": lambda path: np.save(path.open("wb"), ORIGINALS),
    "pickled": lambda path: np.savez(path.open("wb"), **contents(**{"0.mean": np.array([None] * DIM, object)})),
    "pickled name": lambda path: np.savez(path.open("wb"), **contents(encoder=np.array([{}], object))),
    "compressed": lambda path: np.savez_compressed(path.open("wb"), **contents()),
    "an upgrade": upgrade,
    "a map of another name": lambda path: embedshift.Whitening(ORIGINALS[0], np.eye(DIM, dtype="f4"), "odd").save(path),
    "other names": lambda path: np.savez(path.open("wb"), a=ORIGINALS),
    "unknown part": written(index="whiten+int4"),
    "two lines": written(index="whi\nten+int8+normalised"),
    "a size above": written(index="whiten+first-999", **{"1.low": None}),
    "no number of dimensions": written(dim=np.inf),
    "no dimensions": written(dim=0),
    "fewer than none": written(dim=-3),
    "billions of dimensions": written(name="float16", dim=2**33),
    "another number of dimensions": written(dim=DIM + 1),
    "an array of no part": written(**{"7.mean": ORIGINALS[0]}),
    "an array of a word": written(**{"a.mean": ORIGINALS[0]}),
    "complex": written(**{"0.mean": ORIGINALS[0] * 1j}),
    "words": written(**{"0.mean": np.array(["a"] * DIM)}),
    **{f"{key} is missing": written(**{key: None}) for key in WHOLE},
    **{f"{key} is not finite": written(**{key: with_nan(WHOLE[key])}) for key in WHOLE if "." in key or "back" in key},
    **{f"{key} is short": written(**{key: WHOLE[key][:-1]}) for key in WHOLE if "." in key},
    **{f"{key} is one number": written(**{key: WHOLE[key].ravel()[:1]}) for key in WHOLE if "." in key},
    **{f"{key} is nested": written(**{key: WHOLE[key][None]}) for key in WHOLE if "." in key or "back" in key},
    "a narrow matrix": written(**{"0.matrix": WHOLE["0.matrix"][:, :-1]}),
    "a wide matrix": written(name="pca-4", **{"0.matrix": np.ones((DIM, 5), np.float32)}),
    "a narrow background": written(background=WHOLE["background"][:, :-1]),
    "an empty background": written(background=WHOLE["background"][:0]),
    "no step": written(**{"1.step": np.zeros(DIM, np.float32)}),
    "another size": written(name="first-4", **{"0.size": np.array(5)}),
    "bits of another number": written(name="binary", **{"0.dim": np.array(DIM - 2)}),
    "no number of bits": written(name="binary-hamming", **{"0.dim": None}),
    "centroids of another number": written(name="pq-4", training=MANY, **{"0.centroids": CENTROIDS[:, :-1]}),
    "centroids of fewer bytes": written(name="pq-4", training=MANY, **{"0.centroids": CENTROIDS[:-1]}),
    "centroids of fewer numbers": written(name="pq-4", training=MANY, **{"0.centroids": CENTROIDS[..., :-1]}),
    "centroids that are not finite": written(name="pq-4", training=MANY, **{"0.centroids": with_nan(CENTROIDS)}),
    "no centroids": written(name="pq-4", training=MANY, **{"0.centroids": None}),
    "bytes that divide no vector": written(index="pq-5", name="pq-4", training=MANY),
    "a file for a map": written(index="map:a.npz+int8+normalised"),
    "ranges of rescore": written(name="binary+rescore", **{"1.low": ORIGINALS[0][:3]}),
}  # fmt: skip


@pytest.mark.parametrize("wrong", first_only(WRONG))
def test_a_file_that_holds_no_index_is_refused_in_one_line(wrong, tmp_path):
    path = tmp_path / "a.index"
    WRONG[wrong](path)
    with pytest.raises(UsageError) as error:
        SearchIndex.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 400


def test_the_unchanged_contents_are_read(tmp_path):
    written()(tmp_path / "a.index")
    assert SearchIndex.load(tmp_path / "a.index").name == "whiten+int8+normalised"


def test_no_such_file_is_said(tmp_path):
    for name in ("none.index", "none/none.index"):
        with pytest.raises(UsageError) as error:
            SearchIndex.load(tmp_path / name)
        assert str(error.value) == f"{tmp_path / name}: no such file"


def test_an_index_of_a_structure_is_the_one_without_it(tmp_path):
    """The store builds it."""
    plain = fitted_index("whiten+int8", TRAINING)
    for structure in ("hnsw", "ivf"):
        made = fitted_index(f"whiten+int8+{structure}", TRAINING)
        made.save(tmp_path / "a.index")
        read = SearchIndex.load(tmp_path / "a.index")
        assert (read.name, read.structure) == (f"whiten+int8+{structure}", structure)
        for function in ("base", "query"):
            np.testing.assert_array_equal(getattr(read, function)(GIVEN), getattr(plain, function)(GIVEN))
        assert read.bytes_searched == plain.bytes_searched == DIM


def test_a_map_of_a_file_is_part_of_an_index_by_its_own_name(tmp_path):
    """It is applied as it is, and what comes after is fitted to what it makes."""
    first = fitted_index("whiten+pca-1/4", TRAINING)
    first.save(tmp_path / "map.npz")
    other = Training(normalised_float32(RNG.normal(size=(50, DIM))), np.zeros((50, 0, DIM), np.float32))
    index = fitted_index(f"map:{tmp_path / 'map.npz'}+int8", other)
    assert (index.name, index.dim_kept) == ("whiten+pca-1/4+int8", 4)
    moved = first.base(other.originals)
    low, step = moved.min(axis=0), np.ptp(moved, axis=0) / 255
    expected = np.clip(np.floor((first.base(GIVEN) - low) / step), 0, 255) - 128
    np.testing.assert_array_equal(index.base(GIVEN), expected)
    index.save(tmp_path / "b.npz")
    np.testing.assert_array_equal(SearchIndex.load(tmp_path / "b.npz").base(GIVEN), expected)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("centred+int8", "its index is centred+int8; give one of a map and a size only"),
        ("float32", "its index is float32"),
    ],
)
def test_a_file_that_is_no_map_alone_is_no_part(name, words, tmp_path):
    fitted_index(name, TRAINING).save(tmp_path / "a.npz")
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path / 'a.npz'}: {words}")):
        fitted_index(f"map:{tmp_path / 'a.npz'}+binary", TRAINING)


def test_a_map_of_vectors_of_another_length_is_no_part(tmp_path):
    fitted_index("centred", TRAINING).save(tmp_path / "a.npz")
    wide = Training(np.ones((20, 20), np.float32), np.ones((20, 1, 20), np.float32))
    with pytest.raises(UsageError, match="for vectors of 16 numbers; these have 20"):
        fitted_index(f"map:{tmp_path / 'a.npz'}", wide)
    with pytest.raises(UsageError, match="no such file"):
        fitted_index("map:none.npz", TRAINING)


def test_vectors_of_another_length_are_refused():
    index = fitted_index("int8", TRAINING)
    for shape in ((3, DIM + 1), (DIM,), (2, 3, DIM)):
        for function in (index.base, index.query):
            with pytest.raises(UsageError, match=rf"give vectors \[n, {DIM}\], as the index was fitted to; not"):
                function(np.ones(shape))


def test_an_index_does_not_replace_a_folder_or_a_file_of_a_study(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    for name, words in (("study.json", "belongs to the study"), ("missing/a.index", "cannot be written")):
        with pytest.raises(UsageError, match=words):
            fitted_index("int8", TRAINING).save(tmp_path / name)
    assert (tmp_path / "study.json").read_text() == "{}"
