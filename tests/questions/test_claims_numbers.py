"""Claims: every number against a slow loop that takes the same resamples image by image."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy.stats import entropy, rankdata, spearmanr

from embedshift.questions.claims.evidence import TREES, Bootstrap, gather, read
from embedshift.questions.claims.kinds import Correlation, holm, ranks
from embedshift.questions.claims.tables import claims, paper_claims
from embedshift.statistics import intervals, sample
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import weights
from support.claims_trees import branch_inside, noise_alone
from support.claims_world import COLOR, GEOMETRIC, LEAST, METRICS, NAMES, world
from support.matrix import first_only

pytestmark = pytest.mark.slow

RESAMPLES = 399
SPREADING = ["blur", "shift_scale_rotate", "perspective"]


def but(*names):
    return [name for name in NAMES if name not in names]


class Slow:
    """Image values by the plainest means: of a mean over all values, what one image adds to it."""

    def __init__(self, rows: pl.LazyFrame, draws: int):
        frame = rows.collect()
        origin = frame.filter(pl.col("view") == "original")
        self.images, self.draws = len(origin), draws
        before = np.array([entropy(row / row.sum()) for row in origin["attention"].to_numpy().astype(np.float64)])
        self.raw = {}
        for name in NAMES:
            part = frame.filter(pl.col("view") == name)
            for metric in METRICS:
                self.raw[metric, name] = part[metric].fill_null(np.nan).to_numpy().reshape(-1, draws)
            maps = part["attention"].to_numpy().astype(np.float64)
            after = np.array([entropy(row / row.sum()) for row in maps]).reshape(-1, draws)
            self.raw["rise", name] = after - before[:, None]
        lists = origin["pairwise"].to_list()
        self.distances = np.array(lists, dtype=np.float32).astype(np.float64).reshape(self.images, draws, 36)

    def mean(self, metric, name):
        """Image values of a mean."""
        values = self.raw[metric, name]
        middle, each = np.nanmean(values), np.sum(~np.isnan(values)) / self.images
        return np.array([middle + np.nansum(row - middle) / each for row in values])

    def sd(self, metric, name):
        """Image values of a standard deviation."""
        values = self.raw[metric, name]
        middle, each = np.nanmean(values), np.sum(~np.isnan(values)) / self.images
        sd, square = np.nanstd(values, ddof=1), np.nanmean((values - middle) ** 2)
        return np.array([sd + np.nansum((row - middle) ** 2 - square) / (2 * sd) / each for row in values])

    def order(self, metric, *groups):
        sign = 1 if metric == "l2_distance" else -1
        pairs = [pair for above, below in itertools.pairwise(groups) for pair in itertools.product(above, below)]
        return [sign * (self.mean(metric, more) - self.mean(metric, less)) for more, less in pairs]

    def contrasts(self):
        """Of each claim about means and spreads, the image values of what must be above 0."""
        found, middle = {}, [*COLOR, *GEOMETRIC]
        for suffix, metric in (("a", "l2_distance"), ("b", "cosine_similarity")):
            sign = 1 if suffix == "a" else -1
            found["1" + suffix] = self.order(metric, ["noise"], but("noise"))
            found["4" + suffix] = self.order(metric, but(*LEAST), LEAST)
            found["9" + suffix] = self.order(metric, ["noise"], middle, LEAST)
            for part, name in (("ab", "perspective"), ("cd", "shift_scale_rotate")):
                found["5" + part["ab".index(suffix)]] = self.order(metric, [name], but("noise", *GEOMETRIC))
            found["5" + "ef"["ab".index(suffix)]] = self.order(metric, but("perspective", *LEAST), ["perspective"])
            sds, means = ([[f(metric, n) for n in group] for group in (COLOR, LEAST)] for f in (self.sd, self.mean))
            found["6" + suffix] = [np.mean(sds[0], axis=0) - np.mean(sds[1], axis=0)]
            found["6" + "cd"["ab".index(suffix)]] = [sign * (np.mean(means[0], axis=0) - np.mean(means[1], axis=0))]
        found["8a"] = self.order("attention_similarity", ["noise"], but("noise"))
        found["8b"] = self.order("attention_similarity", SPREADING, but("noise", *SPREADING))
        return found | {"10" + part: [self.mean("rise", n)] for part, n in zip("abc", SPREADING, strict=True)}


def drawn(images, seed, resamples):
    """The images of each resample, one by one."""
    return [
        np.repeat(np.arange(images), row.astype(int))
        for row in np.vstack([*weights(images, seed=seed, resamples=resamples)])
    ]


def by_hand(values, resamples, mirrored):
    """Estimate, interval and the two p of one claim, from explicit resamples."""
    n = len(values[0])
    estimates, errors = [each.mean() for each in values], [each.std(ddof=1) / np.sqrt(n) for each in values]
    t = [estimate / error for estimate, error in zip(estimates, errors, strict=True)]
    again = []
    for index in resamples:
        row = []
        for each, middle in zip(values, estimates, strict=True):
            taken = each[index]
            row.append((taken.mean() - middle) / (taken.std(ddof=1) / np.sqrt(n)))
        again.append(row)
        if mirrored:
            again.append([-value for value in row])
    one_sided = [(1 + sum(row[j] >= t[j] for row in again)) / (1 + len(again)) for j in range(len(t))]
    furthest = max(-value for value in t)
    reversal = (1 + sum(max(-value for value in row) >= furthest for row in again)) / (1 + len(again))
    upper = np.quantile([max(-value for value in row) for row in again], 0.975, method="higher")
    ends = [np.quantile([row[j] for row in again], 0.975, method="higher") for j in range(len(t))]
    low = min(e - q * s for e, q, s in zip(estimates, ends, errors, strict=True))
    high = min(e + upper * s for e, s in zip(estimates, errors, strict=True))
    return min(estimates), low, high, max(one_sided), reversal


def blurred_world(draws: int) -> pl.LazyFrame:
    """A world with little left of the paper's order, so that every number moves from resample to resample."""
    means = {metric: {name: 0.5 + 0.02 * i for i, name in enumerate(NAMES)} for metric in METRICS}
    sds = {metric: {name: 0.1 + 0.01 * i for i, name in enumerate(NAMES)} for metric in METRICS}
    pairs = {(a, b): 0.3 for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]}
    tight = {("shift_scale_rotate", "perspective"): 0.2, ("blur", "perspective"): 0.22}
    tight |= {("blur", "shift_scale_rotate"): 0.22} | {("noise", n): 0.5 for n in NAMES[1:]}
    heat = dict.fromkeys(("blur", "shift_scale_rotate", "perspective"), 1.02)
    wobble = dict.fromkeys(pairs, 0.15 * draws**0.5)
    return world(25, draws, means, sds, pairs | tight, wobble, heat, seed=5)


def with_holes(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Some values become NaN, as for an image without detail."""
    frame = rows.collect()
    hole = (pl.int_range(pl.len()) % 17 == 5) & (pl.col("view") != "original")
    return frame.with_columns(pl.when(hole).then(np.nan).otherwise(pl.col(m)).alias(m) for m in METRICS).lazy()


@pytest.mark.parametrize(("draws", "holes"), first_only([(1, False), (3, True)]))
def test_claims_on_means_and_spreads_are_those_of_a_slow_bootstrap(draws, holes):
    rows = with_holes(blurred_world(draws)) if holes else blurred_world(draws)
    table = {
        row["claim"]: row for row in claims(image_rows(rows), NAMES, seed=11, resamples=RESAMPLES).iter_rows(named=True)
    }
    bootstrap = Bootstrap(gather(read(image_rows(rows), NAMES)), asked(), seed=11, resamples=RESAMPLES)
    slow = Slow(rows, draws)
    expected = slow.contrasts()
    assert set(table) - set(expected) == {"2a", "3a", "3b", "7a", "7b", "7c", "11a", "11b", "12a", "12b"}
    resamples = drawn(slow.images, 11, RESAMPLES)
    tests = {claim.name: claim.test for claim in paper_claims()}
    for part, values in expected.items():
        wanted = by_hand(values, resamples, mirrored=part in ("6a", "6b"))
        row, found = table[part], tests[part].find(bootstrap)
        assert (row["estimate"], row["ci_low"], row["ci_high"], *found.p) == pytest.approx(wanted, abs=1e-9), part
        assert row["p_value"] == min(found.p)


@pytest.mark.parametrize(("draws", "holes"), first_only([(1, False), (2, True)]))
def test_fractions_of_trees_and_of_the_exception_are_those_of_a_slow_bootstrap(draws, holes, monkeypatch):
    assert TREES == 1_000
    monkeypatch.setattr("embedshift.questions.claims.evidence.TREES", 200)
    rows = with_holes(blurred_world(draws)) if holes else blurred_world(draws)
    found = dict(claims(image_rows(rows), NAMES, seed=11, resamples=RESAMPLES).select("claim", "estimate").iter_rows())
    slow = Slow(rows, draws)
    trees = [slow.distances[index].mean(axis=(0, 1)) for index in drawn(slow.images, 11, 200)]
    wanted = {
        "2a": np.mean([noise_alone(each) for each in trees]),
        "3a": np.mean([branch_inside(each, GEOMETRIC) for each in trees]),
        "3b": np.mean([branch_inside(each, ["blur", *GEOMETRIC]) for each in trees]),
    }
    means = {m: {n: slow.mean(m, n) for n in NAMES} for m in ("detail_preservation", "cosine_similarity")}
    exceptions = []
    for index in drawn(slow.images, 11, RESAMPLES):
        detail, cosine = ({n: of[n][index].mean() for n in NAMES} for of in means.values())
        places = [sorted(of.values()) for of in (cosine, detail)]
        behind = {n: places[0].index(cosine[n]) - places[1].index(detail[n]) for n in NAMES}
        exceptions.append(behind["horizontal_flip"] > max(behind[n] for n in but("horizontal_flip")))
    wanted["7c"] = np.mean(exceptions)
    assert all(0 < value < 1 for value in wanted.values()), "a number that never moves tests nothing"
    assert {part: found[part] for part in wanted} == pytest.approx(wanted, abs=1e-12)


def test_correlations_against_all_permutations():
    rows = blurred_world(1)
    detail = {"noise": 0.5, "blur": 0.6, "color_jitter": 0.4, "shift_scale_rotate": 0.7, "horizontal_flip": 0.3}
    rows = rows.with_columns(
        detail_preservation=pl.col("detail_preservation") + pl.col("view").replace_strict(detail, default=0.55)
    )
    table = {row["claim"]: row for row in claims(image_rows(rows), NAMES, seed=2, resamples=999).iter_rows(named=True)}
    slow = Slow(rows, 1)
    eight = but("horizontal_flip")
    a, b = ([slow.mean(m, n).mean() for n in eight] for m in ("detail_preservation", "cosine_similarity"))
    rho = spearmanr(a, b)[0]
    first, second = np.argsort(np.argsort(a)), np.argsort(np.argsort(b))
    every = np.array(list(itertools.permutations(first.tolist())))
    squares = ((every - second) ** 2).sum(axis=1)
    chance = 1 - 6 * squares / (8 * 63)
    p = min((chance >= rho - 1e-12).mean(), (chance <= rho + 1e-12).mean())
    assert table["7a"]["estimate"] == pytest.approx(rho, abs=1e-9)
    assert table["7a"]["p_value"] == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 10_000))
    assert 0.01 < p < 0.5
    assert table["7a"]["ci_low"] is None


def asked():
    return [contrast for claim in paper_claims() for contrast in claim.test.contrasts]


def test_ranks_are_read_where_the_simultaneous_intervals_settle_a_pair_by_each_metric():
    metrics, seen = Correlation("edge_preservation", "cosine_similarity", NAMES), set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        of = {(m, n): rng.normal(size=(30, 1)) + 0.06 * i for m in METRICS for i, n in enumerate(NAMES)}
        evidence = gather([of])
        bootstrap = Bootstrap(evidence, metrics.contrasts, seed=seed, resamples=399)
        significant = []
        for metric in (metrics.first, metrics.second):
            values = np.hstack([of[metric, name] for name in NAMES])
            pairs = np.stack([values[:, i] - values[:, j] for i, j in itertools.combinations(range(9), 2)], axis=1)
            significant.append(
                intervals.simultaneous_intervals(
                    sample.estimates_from_values(pairs), seed=seed, resamples=399
                ).significant.any()
            )
        assert (metrics.find(bootstrap) is not None) == all(significant)
        seen.add(all(significant))
    assert seen == {True, False}


def test_ranks_are_scipy_s():
    values = np.random.default_rng(0).integers(0, 5, size=(3, 200, 9)).astype(float)
    values[0, 3, 4] = np.nan
    np.testing.assert_array_equal(ranks(values), rankdata(values, axis=-1))


def test_standard_deviations_and_their_errors_are_those_of_a_jackknife():
    values = np.exp(np.random.default_rng(3).normal(size=(400, 1)) * 0.5)
    evidence = gather([{("l2_distance", "blur"): values}])
    n, place = len(values), evidence.columns["sd", "l2_distance", "blur"]
    left_out = np.array([np.delete(values, i).std(ddof=1) for i in range(n)])
    pseudo = n * values.std(ddof=1) - (n - 1) * left_out
    assert evidence.sample.mean[place] == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert evidence.sample.error[place] == pytest.approx(pseudo.std(ddof=1) / np.sqrt(n), rel=0.03)
    assert np.corrcoef(evidence.sample.values[:, place], pseudo)[0, 1] > 0.999


@pytest.mark.matrix
def test_above_what_is_kept_in_memory_the_covariance_gives_the_same(monkeypatch):
    rows = with_holes(blurred_world(2))
    kept = Bootstrap(gather(read(image_rows(rows), NAMES)), asked(), seed=0, resamples=9_999)
    monkeypatch.setattr(sample, "IN_MEMORY", 10)
    summed = Bootstrap(gather(read(image_rows(rows), NAMES)), asked(), seed=0, resamples=9_999)
    assert not summed.evidence.sample.in_memory
    for claim in paper_claims():
        one, other = (each.contrasts(claim.test.contrasts) for each in (kept, summed))
        np.testing.assert_allclose(other.estimate, one.estimate, atol=1e-12)
        np.testing.assert_allclose(other.error, one.error, rtol=1e-9)
        p = [getattr(claim.test.find(each), "p", None) for each in (kept, summed)]
        if claim.name[:2] == "11":  # they need a baseline
            assert p == [None, None]
            continue
        np.testing.assert_allclose(*p, atol=0.06, err_msg=claim.name)


def test_holm_against_its_definition():
    p = np.random.default_rng(0).uniform(size=(20, 2)) ** 3
    values, expected = p.ravel(), []
    ordered = sorted(values)
    for value in values:
        smaller = [(len(values) - rank) * other for rank, other in enumerate(ordered) if other <= value]
        expected.append(min(1.0, max(smaller)))
    np.testing.assert_allclose(holm(p).ravel(), expected)
    assert (np.array(expected) < 1).sum() > 5
