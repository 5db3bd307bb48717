"""The distance between two stacks against explicit loops over images."""

import numpy as np
import pytest

from embedshift.errors import EmbedshiftError
from embedshift.stacks.result import Parity, distance_between


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


def order(query, index, own):
    """The positions of the other images, the nearest first."""
    return sorted((j for j in range(len(index)) if j != own), key=lambda j: (-cosine(query, index[j]), j))


def stacks(count=9, noise=0.8, dim=5):
    rng = np.random.default_rng(3)
    first = rng.normal(size=(count, dim)) + 0.5
    both = first, first + noise * rng.normal(size=first.shape)
    return tuple(vectors.astype(np.float32).astype(np.float64) for vectors in both)  # as stacks give them


def said(distance, **more):
    names = tuple(f"{number}.jpg" for number in range(len(distance.norms[0])))
    return Parity("ours", "theirs", names, distance, 0.01, **more)


def test_cosine_and_relative_shift():
    first, second = stacks()
    distance = distance_between(first, second)
    expected = [1 - cosine(a, b) for a, b in zip(first, second, strict=True)]
    others = [1 - cosine(first[i], first[j]) for i in range(9) for j in range(9) if i != j]
    np.testing.assert_allclose(distance.distances, expected, atol=1e-13)
    assert distance.mean == pytest.approx(np.mean(expected))
    assert distance.relative_shift == pytest.approx(np.mean(expected) / np.mean(others), rel=1e-12)
    numbers = said(distance).to_json()
    assert numbers["largest"] == pytest.approx(max(expected))
    assert numbers["farthest"][0] == f"{int(np.argmax(expected))}.jpg"


@pytest.mark.parametrize("count", [2, 3, 9, 30])
def test_search_of_one_stack_in_the_index_of_another(count):
    first, second = stacks(count)
    vectors, kept = {"reference": first, "served": second}, min(10, max(1, (count - 1) // 2))
    rows = distance_between(first, second).search
    own = [order(first[i], first, i)[:kept] for i in range(count)]
    assert [(row["queries"], row["index"]) for row in rows] == [
        ("reference", "reference"), ("served", "served"), ("served", "reference"), ("reference", "served"),
    ]  # fmt: skip
    for row in rows:
        queries, index = vectors[row["queries"]], vectors[row["index"]]
        hits = [
            all(cosine(q, index[i]) > cosine(q, v) for j, v in enumerate(index) if j != i)
            for i, q in enumerate(queries)
        ]
        near = [order(query, index, i)[:kept] for i, query in enumerate(queries)]
        assert row["recall@1"] == pytest.approx(np.mean(hits))
        assert row["neighbours"] == pytest.approx(
            np.mean([len({*a} & {*b}) / kept for a, b in zip(own, near, strict=True)])
        )


def test_images_with_another_nearest_image():
    first, second = stacks(30, noise=0.1)
    distance = distance_between(first, second)
    changed = set()
    for queries, index in ((second, second), (second, first), (first, second)):
        changed |= {i for i in range(30) if order(queries[i], index, i)[0] != order(first[i], first, i)[0]}
    assert {*distance.changed} == changed != set()
    leads = [[cosine(first[i], first[j]) for j in order(first[i], first, i)[:2]] for i in range(30)]
    np.testing.assert_allclose(distance.margins, [one - two for one, two in leads], atol=1e-12)


def test_a_near_tie_that_rounding_turns_is_no_change():
    """The second and the third image are equally near to the first but for a lead in the eighth digit."""
    first = np.array([[1.0, 0, 0], [1.0, 0.1, 0], [1.0, 0, 0.1 + 1e-7], [0, 1.0, 1.0]])
    second = first.copy()
    second[1, 1] += 3e-7
    assert order(second[0], second, 0) != order(first[0], first, 0)
    assert 0 not in distance_between(first, second).changed


def test_a_lock_breaks_where_a_nearest_image_changes_and_another_reference_does_not():
    distance, names = distance_between(*stacks(30, noise=0.1)), tuple(f"{number}.jpg" for number in range(30))
    other, lock = (Parity("ours", "theirs", names, distance, 0.1, locked=locked) for locked in (False, True))
    assert (other.passed, lock.passed) == (True, False)
    count, first = len(distance.changed), names[distance.changed[0]]
    assert f"{count} with another nearest image (first: {first})" in lock.verdict
    assert "nearest image" not in other.verdict


def test_norms_name_a_missing_normalisation():
    first, _ = stacks()
    unit = first / np.linalg.norm(first, axis=1, keepdims=True)
    mean = np.mean([sum(x * x for x in row) ** 0.5 for row in first])
    words = said(distance_between(unit, first)).sentence
    assert f"ours normalises its vectors, theirs does not (mean norm {mean:.4g})" in words
    assert "theirs normalises its vectors, ours does not" in said(distance_between(first, unit)).sentence
    assert "The norms of theirs are 100 times those of ours" in said(distance_between(first, 100 * first)).sentence
    assert "orm" not in said(distance_between(first, 1.3 * first)).sentence
    assert said(distance_between(unit, first)).passed


def test_vectors_of_another_length_or_model_are_said_as_that():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(20, 8)) + 2
    shorter = said(distance_between(first, rng.normal(size=(20, 6))))
    words = "theirs gives 6 numbers, ours 8: vectors of another model or output, without a cosine (CKA"
    assert words in shorter.sentence
    assert not shorter.passed
    assert (shorter.to_json()["mean"], shorter.to_json()["relative_shift"]) == (None, None)
    other = said(distance_between(first, rng.normal(size=(20, 8))))
    assert "vectors of another model, or of other weights" in other.sentence
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    assert "the vectors of ours turned, scaled or moved" in said(distance_between(first, first @ turn - 3)).sentence


def test_what_has_no_scale_is_refused():
    with pytest.raises(EmbedshiftError, match="give two or more"):
        distance_between(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(EmbedshiftError, match="one vector"):
        distance_between(np.ones((4, 3)), np.ones((4, 3)))
