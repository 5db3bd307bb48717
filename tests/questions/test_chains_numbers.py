"""Fingerprints of changes, their sums, and what made a copy: against SciPy, slow loops and simulations."""

import itertools

import numpy as np
import pytest
from scipy.optimize import nnls

from embedshift.questions.chains.numbers import (
    FEW,
    NOTHING,
    UNDECIDED,
    UNKNOWN,
    Moments,
    dissected_by,
    fingerprints_of,
    non_negative,
)
from embedshift.statistics.vectors import normalised_float32

SIZE, NAMES = 32, ("a", "b", "c", "d", "e", "f")
# Places of the changes; the last is not in the study.
TOWARDS = 0.9 * np.linalg.qr(np.random.default_rng(9).normal(size=(SIZE, SIZE)))[0][:7]


def world(count, seed, changes, noise=0.5):
    """Returns originals, and copies under each set of changes, `[n, C, D]`, all of unit length."""
    rng = np.random.default_rng(seed)
    images = 3 * rng.normal(size=(count, SIZE)) / np.sqrt(SIZE) + 1
    scatter = noise * rng.normal(size=(count, len(changes), SIZE)) / np.sqrt(SIZE)
    moved = images[:, None] + np.stack([TOWARDS[[*own]].sum(axis=0) for own in changes]) + scatter
    return normalised_float32(images), normalised_float32(moved)


@pytest.fixture(scope="module")
def fingerprints():
    return fingerprints_of(NAMES, *world(200, 0, [(k,) for k in range(6)]))


def test_coefficients_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for size, correlated in itertools.product((1, 2, 3, 4), (0, 0.9)):
        columns = rng.normal(size=(40, 9, size)) + correlated * rng.normal(size=(40, 9, 1))
        target = rng.normal(size=(40, 9)) + columns.sum(axis=2)
        gram, products = columns.transpose(0, 2, 1) @ columns, np.einsum("rdk,rd->rk", columns, target)
        found, explained = non_negative(gram, products)
        for row in range(40):
            wanted, left = nnls(columns[row], target[row])
            np.testing.assert_allclose(found[row], wanted, atol=1e-9)
            assert explained[row] == pytest.approx(target[row] @ target[row] - left**2)


def test_products_leave_out_each_image_with_itself():
    shifts = np.random.default_rng(1).normal(size=(7, 2, 3)).astype(np.float32)
    groups = np.array([0, 0, 1, 2, 2, 2, 3])
    for given in (None, groups):
        own = np.arange(7) if given is None else given
        pairs = [(i, k) for i, k in itertools.product(range(7), repeat=2) if own[i] != own[k]]
        wanted = np.mean([shifts[i].astype(float) @ shifts[k].T for i, k in pairs], axis=0)
        moments = Moments.of(shifts, given)
        np.testing.assert_allclose(moments.products[0], wanted, rtol=1e-6)
        np.testing.assert_allclose(moments.means[0], shifts.mean(axis=0), rtol=1e-5)
        assert moments.independent == len(set(own.tolist()))


def test_noise_adds_nothing_to_lengths():
    noise = np.random.default_rng(2).normal(size=(200, 3, SIZE)).astype(np.float32)
    products = Moments.of(noise).products
    assert abs(products[0, 0, 0]) < 4 * products[1:, 0, 0].std()


def test_chains_are_named_and_false_names_are_rare(fingerprints):
    sets = [own for n in (1, 2, 3) for own in itertools.combinations(range(6), n)]
    originals, copies = world(40 * len(sets), 3, sets)
    right, false = dict.fromkeys((1, 2, 3), 0), 0
    calls = dict.fromkeys((1, 2, 3), 0)
    for place, own in enumerate(sets):
        for rows in np.arange(40 * place, 40 * place + 40).reshape(2, 20):
            named = dissected_by(fingerprints, copies[rows, place] - originals[rows]).named
            calls[len(own)] += 1
            right[len(own)] += set(named) == set(own)
            false += not set(named) <= set(own)
    assert false <= 0.02 * sum(calls.values())
    assert [right[n] / calls[n] >= least for n, least in ((1, 0.9), (2, 0.75), (3, 0.6))] == [True] * 3


def test_coefficients_are_near_one_and_within_their_intervals(fingerprints):
    originals, copies = world(60, 4, [(1, 4)])
    found = dissected_by(fingerprints, copies[:, 0] - originals)
    assert set(found.named) == {1, 4}
    assert found.remains == NOTHING
    for part in found.parts:
        assert part.coefficient.low < part.coefficient.value < part.coefficient.high
        assert part.coefficient.value == pytest.approx(1, abs=0.25)


def test_an_unknown_change_and_no_change_have_no_name(fingerprints):
    originals, copies = world(400, 5, [(6,), ()])
    named = [dissected_by(fingerprints, copies[k : k + 20, 0] - originals[k : k + 20]) for k in range(0, 400, 20)]
    assert sum(bool(each.named) for each in named) <= 1
    assert {each.remains for each in named} <= {UNKNOWN, UNDECIDED, NOTHING}
    assert any(each.remains == UNKNOWN for each in named)
    still = [dissected_by(fingerprints, copies[k : k + 20, 1] - originals[k : k + 20]) for k in range(0, 400, 20)]
    assert not any(each.named for each in still)


def test_random_equal_and_other_images_have_no_name(fingerprints):
    originals = world(60, 6, [(0,)])[0]
    rng = np.random.default_rng(7)
    assert dissected_by(fingerprints, np.zeros((20, SIZE), np.float32)).remains == NOTHING
    for _ in range(20):
        random = normalised_float32(rng.normal(size=(20, SIZE))) - originals[:20]
        others = originals[rng.permutation(60)[:20]] - originals[rng.permutation(60)[:20]]
        assert not dissected_by(fingerprints, random.astype(np.float32)).named
        assert not dissected_by(fingerprints, others).named


def test_few_pairs_or_few_groups_are_not_judged(fingerprints):
    originals, copies = world(20, 8, [(0,)])
    shifts = copies[:, 0] - originals
    assert dissected_by(fingerprints, shifts[:4]).remains == FEW
    assert dissected_by(fingerprints, shifts, np.arange(20) % 4).remains == FEW
    few = fingerprints_of(NAMES, *world(30, 0, [(k,) for k in range(6)]))
    assert dissected_by(few, shifts).remains == FEW


def test_equal_changes_are_rivals_and_neither_is_named():
    originals, copies = world(200, 0, [(0,), (0,), (1,)])
    twins = fingerprints_of(("a", "again", "b"), originals, copies)
    others, changed = world(20, 9, [(0, 1)])
    found = dissected_by(twins, changed[:, 0] - others)
    assert found.named == [2]
    (part,) = (each for each in found.parts if each.change != 2)
    assert {part.change, *part.rivals} == {0, 1}
    assert twins.alike(0) == [1]


def test_a_change_without_effect_has_no_fingerprint():
    found = fingerprints_of(("a", "still", "noise"), *world(100, 0, [(0,), (), ()]))
    assert found.seen.tolist() == [True, False, False]


def test_single_pairs_are_named_where_names_are_right():
    reference = world(200, 0, [(k,) for k in range(6)], noise=0.02)
    sharp, blurred = (fingerprints_of(NAMES, *each) for each in (reference, world(200, 0, [(0,)] * 6)))
    assert np.isfinite(sharp.single_limit)
    assert blurred.single_limit == np.inf
