"""Claims that count: relative shifts above a level, and the rank of the flip, against slow loops."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, rankdata

from embedshift.questions.claims.evidence import Bootstrap, Evidence, gather
from embedshift.questions.claims.kinds import MostAltered, Rank
from embedshift.questions.claims.tables import paper_claims
from embedshift.statistics import sample
from embedshift.statistics.baselines import Baseline, cosine_pairs
from embedshift.statistics.sample import weights
from support import studies
from support.claims_world import NAMES, table_of, world
from support.matrix import first_only

RESAMPLES, SEED = 399, 3
OTHERS = ("cosine_similarity", "attention_similarity", "patch_similarity", "edge_preservation")


def groups_of(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Originals of length 1, and cosines under nine changes of rising strength."""
    rng = np.random.default_rng(images)
    originals = rng.normal(size=(images, 6)) + 1.0
    views = originals[:, None] + np.linspace(0.1, 1.5, 9)[:, None] * rng.normal(size=(images, 9, 6))
    originals, views = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (originals, views))
    return originals, np.einsum("id,iad->ia", originals, views)


def evidence_of(originals: np.ndarray, cosines: np.ndarray, size: int) -> Evidence:
    """Evidence of studies that keep sums over `size` consecutive images."""
    images = len(originals)
    sizes = np.full(images // size, float(size))
    sums = originals.reshape(-1, size, originals.shape[1]).sum(axis=1)
    numbers = sample.gather([(cosines, np.ones_like(cosines))], chunks=sizes.astype(int).tolist())
    columns = {("cosine_similarity", name): column for column, name in enumerate(NAMES)}
    return Evidence(numbers, columns, cosine_pairs(sums, sizes, sizes).baseline())


def mean_of_pairs(originals: np.ndarray) -> float:
    """The mean cosine of all pairs of different images."""
    return float(np.mean([first @ second for first, second in itertools.permutations(originals, 2)]))


def slow_contrasts(originals: np.ndarray, cosines: np.ndarray, level: float, size: int) -> np.ndarray:
    """One row per chunk: its mean shift, and what it adds to the baseline, by leaving its images out."""
    chunks = len(originals) // size
    baseline = mean_of_pairs(originals)
    left_out = [mean_of_pairs(np.delete(originals, np.s_[g * size : (g + 1) * size], axis=0)) for g in range(chunks)]
    rows = []
    for chunk in range(chunks):
        added = (chunks - 1) * (np.mean(left_out) - left_out[chunk])
        shifts = 1.0 - cosines[chunk * size : (chunk + 1) * size].mean(axis=0)
        rows.append(shifts - level * (1.0 - baseline - added))
    return np.array(rows)


def slow_count(values: np.ndarray, least: int) -> tuple[tuple[float, ...], tuple[float, float]]:
    """How many means are above 0, the interval of this number, and both p, resample by resample."""
    n, numbers = values.shape
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    t = values.mean(axis=0) / error
    up, down = [], []
    for counts in np.vstack([*weights(n, seed=SEED, resamples=RESAMPLES)]):
        taken = values[np.repeat(np.arange(n), counts.astype(int))]
        off = (taken.mean(axis=0) - values.mean(axis=0)) / (taken.std(axis=0, ddof=1) / np.sqrt(n))
        up.append(max(off))
        down.append(max(-off))
    shown = [sum(side > np.quantile(all_, 0.975, method="higher")) for side, all_ in ((t, up), (-t, down))]
    reached = sorted(t)[::-1][least - 1]
    p = [(1 + sum(one >= edge for one in all_)) / (1 + RESAMPLES) for all_, edge in ((up, reached), (down, -reached))]
    return (sum(t > 0), shown[0], numbers - shown[1]), (p[0], p[1])


@pytest.mark.parametrize(("size", "level"), first_only([(1, 0.3), (1, 0.1), (1, 0.5), (3, 0.3)]))
def test_the_count_of_relative_shifts_is_that_of_a_slow_bootstrap(size, level):
    originals, cosines = groups_of(30)
    evidence = evidence_of(originals, cosines, size)
    found = MostAltered(level).find(Bootstrap(evidence, [], seed=SEED, resamples=RESAMPLES))
    contrasts = slow_contrasts(originals, cosines, level, size)
    together = MostAltered(level)._together(evidence.sample, evidence.baseline.pairs)
    np.testing.assert_allclose(together.values, contrasts, atol=1e-12)
    wanted, p = slow_count(contrasts, 5)
    assert (found.estimate, found.low, found.high) == wanted
    assert found.p == pytest.approx(p, abs=2 / RESAMPLES)
    assert 0 < wanted[1] < wanted[0] < wanted[2] < 9 or level != 0.3, "a number that never moves tests nothing"


def test_errors_are_those_of_a_jackknife_of_shifts_and_baseline():
    originals, cosines = groups_of(24)
    evidence = evidence_of(originals, cosines, 1)
    bootstrap = Bootstrap(evidence, [], seed=SEED, resamples=RESAMPLES)
    left_out = []
    for image in range(24):
        rest = np.delete(np.arange(24), image)
        left_out.append(1 - cosines[rest].mean(axis=0) - 0.5 * (1 - mean_of_pairs(originals[rest])))
    jackknife = np.sqrt(23 / 24 * ((np.array(left_out) - np.mean(left_out, axis=0)) ** 2).sum(axis=0))
    together = MostAltered(0.5)._together(evidence.sample, evidence.baseline.pairs)
    np.testing.assert_allclose(together.error, jackknife)
    np.testing.assert_allclose(together.mean, 1 - cosines.mean(axis=0) - 0.5 * (1 - evidence.baseline.value))
    far = Baseline(0.4, 0.02)
    apart = MostAltered(0.5)._apart(bootstrap, evidence.sample, far)
    np.testing.assert_allclose(apart.estimate, 1 - cosines.mean(axis=0) - 0.5 * (1 - far.value))
    own = cosines.std(axis=0, ddof=1) / np.sqrt(24)
    np.testing.assert_allclose(apart.error, np.sqrt(own**2 + (0.5 * far.error) ** 2))


@pytest.mark.parametrize("has_attention", first_only([True, False]))
def test_the_rank_is_scipy_s_and_its_interval_that_of_a_slow_bootstrap(has_attention):
    rng = np.random.default_rng(8)
    block = {(m, n): 0.05 * i + rng.normal(size=(30, 1)) / 4 for m in OTHERS for i, n in enumerate(NAMES)}
    if not has_attention:
        block |= {key: np.full((30, 1), np.nan) for key in block if key[0] == "attention_similarity"}
    test, used = Rank("horizontal_flip", OTHERS), [m for m in OTHERS if has_attention or m != "attention_similarity"]
    found = test.find(Bootstrap(gather([block]), test.contrasts, seed=SEED, resamples=RESAMPLES))
    means = np.mean([np.hstack([block[m, n] for n in NAMES]) for m in used], axis=0)
    own = NAMES.index("horizontal_flip")
    (_, low, high), p = slow_count(np.delete(means, own, axis=1) - means[:, [own]], 3)
    assert found.estimate == rankdata(-means.mean(axis=0), method="min")[own]
    assert (found.low, found.high) == (1 + low, 1 + high)
    assert found.p == pytest.approx(p[::-1], abs=1e-12)
    assert 1 < found.low < found.high < 9, "a rank that never moves tests nothing"


def test_where_four_of_nine_are_above_a_count_of_five_is_rarely_found():
    """Four are far above 0 and five at it: the least favourable case of "at least five"."""
    wrong = missed = 0
    for seed in range(150):
        image, own = np.random.default_rng(seed).exponential(size=(2, 30, 9)) - 1.0
        numbers = sample.estimates_from_values(np.array([2.0] * 4 + [0.0] * 5) + image[:, :1] + own)
        contrasts = Bootstrap(Evidence(numbers, {}), [], seed=seed, resamples=RESAMPLES).drawn(numbers)
        _, low, high = contrasts.number_above()
        wrong += contrasts.at_least_above(5)[0] <= 0.025
        missed += not low <= 4 <= high
    assert max(wrong, missed) <= binom.ppf(0.999, 150, 0.05)


def test_what_was_not_measured_is_said_with_the_metric_that_lacks():
    rows = world(12).drop("aligned_detail_preservation")
    found = {row["claim"]: row for row in table_of(rows, resamples=50).iter_rows(named=True)}
    requires = {claim.name: claim.test.requires for claim in paper_claims()}
    said = f"Not measured: run with `metrics` aligned_detail_preservation. {requires['12b']}"
    assert {part: row["requires"] for part, row in found.items()} == requires | {"12b": said}
    assert [part for part, row in found.items() if row["verdict"] == "not testable"] == ["12b"]


@pytest.mark.slow
def test_a_study_counts_what_its_summary_shows():
    study = studies.paper()
    shifts = study.summary().filter(metric="cosine_similarity")["relative_shift"]
    found = {row["claim"]: row for row in study.claims().iter_rows(named=True)}
    for part, level in (("11a", 0.1), ("11b", 0.5)):
        assert found[part]["estimate"] == (shifts > level).sum()
        assert found[part]["ci_low"] <= found[part]["estimate"] <= found[part]["ci_high"]
    means = study.summary().pivot("metric", index="augmentation", values="mean")
    performance = means.select(OTHERS).to_numpy().mean(axis=1)
    flip = means["augmentation"].to_list().index("horizontal_flip")
    assert found["12a"]["estimate"] == rankdata(-performance, method="min")[flip]
