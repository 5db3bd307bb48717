"""Maps that whiten, and the files that hold them."""

import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from embedshift.errors import UsageError
from embedshift.statistics.whitening import Whitening, moments_of, shift_moments, whitening
from support import studies

RNG = np.random.default_rng(5)


def test_the_map_whitens_what_it_was_fitted_to() -> None:
    shifts = RNG.normal(size=(500, 6)) @ RNG.normal(size=(6, 6))
    fitted = whitening(np.zeros(6), shifts.T @ shifts / 500, ridge=0.0)
    white = shifts @ fitted.matrix.astype(np.float64)
    covariance = white.T @ white / 500
    assert np.allclose(covariance, covariance[0, 0] * np.eye(6), atol=1e-4 * covariance[0, 0])


def test_the_ridge_is_added_to_every_direction() -> None:
    variances = np.array([4.0, 1.0, 0.0])
    matrix = whitening(np.zeros(3), np.diag(variances), ridge=0.3).matrix
    assert np.allclose(matrix @ matrix.T, np.diag(variances.mean() / (variances + 0.3 * variances.mean())), atol=1e-6)


def test_without_shifts_vectors_are_centred_alone() -> None:
    fitted = whitening(np.array([0.5, 0.0]), np.zeros((2, 2)))
    assert np.allclose(fitted(np.array([[0.0, 9.0]])), [[-0.4472136, 0.8944272]])


def test_a_vector_without_direction_stays_so() -> None:
    assert not whitening(np.full(3, 0.2), np.eye(3))(np.zeros((2, 3))).any()


@pytest.mark.parametrize("scale", [1e20, 1e-25, 1e200, 1e-200])
def test_the_length_of_a_vector_does_not_matter(scale: float) -> None:
    fitted, vectors = whitening(np.full(3, 0.2), np.diag([1.0, 2.0, 5.0])), RNG.normal(size=(9, 3))
    assert np.allclose(fitted(scale * vectors), fitted(vectors), atol=1e-6)
    if 1e-30 < scale < 1e30:
        assert np.allclose(fitted((scale * vectors).astype(np.float32)), fitted(vectors), atol=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_becomes_nan_and_changes_no_other(wrong: float) -> None:
    fitted, vectors = whitening(np.full(3, 0.2), np.eye(3)), RNG.normal(size=(2, 3))
    expected = fitted(vectors[1:])
    vectors[0, 1] = wrong
    assert np.isnan(fitted(vectors)[0]).all()
    assert np.array_equal(fitted(vectors)[1:], expected)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 3)])
def test_vectors_of_another_length_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"give vectors \[n, 3\]"):
        whitening(np.zeros(3), np.eye(3))(np.ones(shape))


def test_moments_are_those_of_a_loop() -> None:
    reader = studies.synthetic(12, ["noise", "blur"], draws=2).reader()
    moments = shift_moments(reader.image_rows)
    originals, shifts = [], []
    by_image: dict[str, np.ndarray] = {}
    for row in reader.rows().collect().iter_rows(named=True):
        vector = np.array(row["embedding"]) / np.linalg.norm(row["embedding"])
        if row["view"] == "original":
            by_image[row["image_id"]] = vector
            originals.append(vector)
        else:
            shifts.append(vector - by_image[row["image_id"]])
    assert (moments.originals, moments.shifts) == (12, len(shifts)) == (12, 48)
    assert np.allclose(moments.mean, np.mean(originals, axis=0), atol=1e-6)
    covariance = np.cov(np.array(originals).T, bias=True)
    second = sum(np.outer(shift, shift) for shift in shifts) / len(shifts)
    vectors = reader.rows().select("embedding").collect()["embedding"].to_numpy()
    for fitted, moment in ((moments.by_originals(), covariance), (moments.by_shifts(), second)):
        expected = whitening(np.mean(originals, axis=0), moment)(vectors)
        assert np.abs(fitted(vectors) @ fitted(vectors).T - expected @ expected.T).max() < 1e-3


def test_moments_of_two_parts_add_up_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(2)
    originals, views = rng.normal(size=(9, 5)).astype(np.float32), rng.normal(size=(2, 9, 5)).astype(np.float32)
    originals[3] = views[1, 4] = 0
    whole = moments_of(originals, views)
    first, second = moments_of(originals[:5], views[:, :5]), moments_of(originals[5:], views[:, 5:])
    assert (whole.originals, whole.shifts) == (8, 15)
    assert np.allclose((first + second).shift_products, whole.shift_products, atol=1e-6)
    assert np.allclose((whole - first).products, second.products, atol=1e-6)
    assert np.allclose((whole - second).mean, first.mean)


def _pickled(path: Path) -> None:
    np.savez(
        path, mean=np.array([None], object), matrix=np.eye(1), dim=1, map="", encoder="", embedding="", embedshift=""
    )


def _cut(path: Path) -> None:
    whitening(np.zeros(3), np.eye(3)).save(path)
    path.write_bytes(path.read_bytes()[:-100])


def _flipped(path: Path) -> None:
    whitening(np.zeros(3), np.eye(3)).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(bytes(content))


def _not_finite(path: Path) -> None:
    Whitening(np.full(2, np.nan, np.float32), np.eye(2, dtype=np.float32)).save(path)


def _members(path: Path, **changed: bytes) -> None:
    """Writes a map of which some members have other bytes."""
    fitted = whitening(np.zeros(3), np.eye(3))
    arrays = {"mean": fitted.mean, "matrix": fitted.matrix, "dim": 3, **fitted.described}
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays.items():
            np.save(content := io.BytesIO(), array)
            file.writestr(f"{name}.npy", changed.get(name, content.getvalue()))


def _encrypted(path: Path) -> None:
    _members(path)
    content = bytearray(path.read_bytes())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for match in re.finditer(start, content):
            content[match.start() + flags] |= 1
    path.write_bytes(content)


WRONG = {
    "a header that is no Python": lambda path: _members(path, mean=b"\x93NUMPY\x01\x00\x09\x00{'descr':"),
    "encrypted": _encrypted,
    "an infinite length": lambda path: np.savez(path, mean=np.zeros(1), matrix=np.eye(1), dim=np.inf),
    "a FIFO": os.mkfifo,
    # A few kB could hold gigabytes.
    "compressed": lambda path: np.savez_compressed(
        path, mean=np.zeros(3, np.float32), matrix=np.eye(3, dtype=np.float32), dim=3,
        map="", encoder="", embedding="", embedshift="",
    ),
    "missing": lambda path: None,
    "pickled": _pickled,
    "cut": _cut,
    "flipped": _flipped,
    "no zip": lambda path: path.write_text("mean"),
    "one array": lambda path: np.save(path.open("wb"), np.eye(3)),
    "other names": lambda path: np.savez(path, a=np.eye(3)),
    "not finite": _not_finite,
    "shape": lambda path: Whitening(np.zeros(2, np.float32), np.eye(3, dtype=np.float32)).save(path),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_holds_no_map_is_refused_in_one_line(wrong: str, tmp_path: Path) -> None:
    WRONG[wrong](tmp_path / "map.npz")
    with pytest.raises(UsageError, match=r"map\.npz: ") as error:
        Whitening.load(tmp_path / "map.npz")
    assert "\n" not in str(error.value)


def test_a_map_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        whitening(np.zeros(3), np.eye(3)).save(tmp_path / "missing" / "map.npz")
    (tmp_path / "map.npz").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        whitening(np.zeros(3), np.eye(3)).save(tmp_path / "map.npz")
    os.mkfifo(tmp_path / "fifo.npz")
    with pytest.raises(UsageError, match=r"fifo\.npz: cannot be written \(a FIFO, not a file\)"):
        whitening(np.zeros(3), np.eye(3)).save(tmp_path / "fifo.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo.npz", "map.npz"]


def test_a_map_does_not_replace_a_file_of_a_study(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}")
    for name in ("study.json", "shards/part-00000.parquet"):
        with pytest.raises(UsageError, match="belongs to the study in"):
            whitening(np.zeros(3), np.eye(3)).save(tmp_path / name)
    whitening(np.zeros(3), np.eye(3)).save(tmp_path / "map.npz")
    assert (tmp_path / "study.json").read_text() == "{}"
