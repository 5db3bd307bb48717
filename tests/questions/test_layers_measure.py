"""Shift and CKA layer by layer, against definitions written here again as they stand in the papers."""

import itertools

import numpy as np
import pytest

from embedshift.encoders import EncoderOutput
from embedshift.questions.layers.measure import MINIBATCH, CkaSums, shift
from embedshift.statistics.agreement import cka, gram_matrices, gram_terms, hsic


def u_statistic(k, l):  # noqa: E741
    """The unbiased HSIC as an average over all ordered quadruples of different images (Song et al. 2012)."""
    quadruples = list(itertools.permutations(range(len(k)), 4))
    return np.mean([k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in quadruples])


def full_batch(x, y):
    """Unbiased linear CKA of all vectors at once, by the matrix form with a vector of ones."""

    def estimate(k, l):  # noqa: E741
        m, one = len(k), np.ones(len(k))
        k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
        second = (one @ k @ one) * (one @ l @ one) / ((m - 1) * (m - 2))
        return (np.trace(k @ l) + second - 2 / (m - 2) * (one @ k @ l @ one)) / (m * (m - 3))

    k, l = x @ x.T, y @ y.T  # noqa: E741
    return estimate(k, l) / np.sqrt(estimate(k, k) * estimate(l, l))


def kornblith(x, y):
    """Linear CKA as Kornblith et al. 2019 write it, of features with centred columns; biased upwards."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


@pytest.fixture(scope="module")
def vectors():
    """500 originals and views `[500, 2 layers, 16]`: the first layer moves a little, the second much; far from 0."""
    rng = np.random.default_rng(3)
    x = 5 + rng.normal(size=(500, 2, 16)) * np.linspace(0.2, 3, 16)
    return x, x + rng.normal(size=x.shape) * np.array([0.3, 3.0])[:, None] - 7


def test_hsic_is_the_average_over_quadruples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    k, l = x @ x.T, np.exp(y @ y.T)  # noqa: E741
    kept = k.copy()
    assert hsic(k, l) == pytest.approx(u_statistic(k, l), rel=1e-12)
    np.testing.assert_array_equal(k, kept)
    np.testing.assert_allclose(hsic(np.stack([k, l]), l), [u_statistic(k, l), u_statistic(l, l)], rtol=1e-12)


def test_hsic_needs_four_images():
    with pytest.raises(ValueError, match="needs 4 images, not 3"):
        hsic(np.eye(3), np.eye(3))


def test_cka_of_all_vectors_at_once_is_the_full_batch_formula(vectors):
    x, y = vectors
    found = cka(gram_terms(gram_matrices(x), gram_matrices(y)))
    np.testing.assert_allclose(found, [full_batch(x[:, layer], y[:, layer]) for layer in range(2)], rtol=1e-9)
    np.testing.assert_allclose(found, [kornblith(x[:, layer], y[:, layer]) for layer in range(2)], atol=0.02)
    assert found[0] > 0.95 > 0.8 > found[1]


def summed(x, y, draws=1):
    sums = CkaSums(draws)
    for original, view in zip(x, y, strict=True):
        sums.add_layers(np.concatenate([original[None], view.reshape(-1, *original.shape)])[:, :, None])
    return sums.close()


@pytest.mark.slow
def test_minibatches_come_near_the_full_batch_on_500_vectors(vectors):
    x, y = vectors
    sums = summed(x, y)
    wanted = [full_batch(x[:, layer], y[:, layer]) for layer in range(2)]
    assert sums["images"] == 500
    assert sums["terms"].shape == (1, 1, 2, 3)
    np.testing.assert_allclose(cka(sums["terms"][0, 0]), wanted, atol=0.03)
    # It has no bias: over shuffles, that is other minibatches, its terms average to those of the full batch.
    rng, again = np.random.default_rng(0), np.zeros((2, 3))
    for order in (rng.permutation(500) for _ in range(30)):
        again += summed(x[order], y[order])["terms"][0, 0]
    np.testing.assert_allclose(cka(again), wanted, atol=0.004)


def test_minibatches_are_weighted_by_their_images_and_draws_and_augmentations_kept_apart():
    """Against a loop over every minibatch, draw, augmentation and layer; views come draw by draw."""
    rng = np.random.default_rng(1)
    count, draws, augmentations = MINIBATCH + 9, 2, 3
    x = rng.normal(size=(count, 2, 5))
    y = x[:, None] + rng.normal(size=(count, draws * augmentations, 2, 5)) * np.arange(1, 7)[:, None, None]
    wanted = np.zeros((augmentations, 2, 3))
    for start, end in ((0, MINIBATCH), (MINIBATCH, count)):
        for draw, name, layer in np.ndindex(draws, augmentations, 2):
            before, after = x[start:end, layer], y[start:end, draw * augmentations + name, layer]
            k, l = before @ before.T, after @ after.T  # noqa: E741
            wanted[name, layer] += (end - start) * np.array([hsic(k, l), hsic(k, k), hsic(l, l)])
    sums = summed(x, y, draws)
    assert sums["images"] == count
    np.testing.assert_allclose(sums["terms"][:, 0], wanted, rtol=1e-9)


def test_a_rest_of_three_and_what_is_not_finite_are_left_out():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(MINIBATCH + 4, 1, 3))
    y = x + rng.normal(size=x.shape)
    y[5] = np.nan
    sums = summed(x, y)  # the 65th fills the minibatch, three are left
    assert sums["images"] == MINIBATCH
    kept = [index for index in range(MINIBATCH + 1) if index != 5]
    assert cka(sums["terms"][0, 0, 0]) == pytest.approx(full_batch(x[kept, 0], y[kept, 0]), rel=1e-9)
    assert summed(x[:3], x[:3]) == {}


def test_an_output_is_added_by_its_layers_and_one_without_them_is_nothing():
    rng = np.random.default_rng(5)
    sums, direct = CkaSums(draws=1), CkaSums(draws=1)
    for layers in rng.normal(size=(6, 3, 2, 2, 4)).astype(np.float32):
        sums.add(None, EncoderOutput(layers[:, 0, 0], None, None, {"layers": layers}))
        sums.add(None, EncoderOutput(layers[:, 0, 0], None, None))
        direct.add_layers(layers)
    found, wanted = sums.close(), direct.close()
    assert found["images"] == 6
    np.testing.assert_array_equal(found["terms"], wanted["terms"])


@pytest.mark.parametrize("tokens", [1, 2])
def test_shift_against_loops(tokens):
    layers = np.random.default_rng(4).normal(size=(4, 5, tokens, 6)).astype(np.float32)
    found = shift(layers)
    names = ("cls", "patches")[-tokens:]
    assert set(found) == {f"layer_{metric}_{name}" for metric in ("cosine", "l2") for name in names}
    for view, layer, (place, name) in itertools.product(range(3), range(5), enumerate(names)):
        a, b = layers[0, layer, place].astype(float), layers[view + 1, layer, place].astype(float)
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        assert found[f"layer_cosine_{name}"][view, layer] == pytest.approx(cosine, rel=1e-12)
        assert found[f"layer_l2_{name}"][view, layer] == pytest.approx(np.sqrt(((a - b) ** 2).sum()), rel=1e-12)
