"""Claims: every number against a slow loop that takes the same resamples image by image."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, entropy, rankdata, spearmanr

from embedshift.questions.claims.evidence import TREES, Bootstrap, Evidence, gather, read
from embedshift.questions.claims.kinds import Correlation, MostAltered, Rank, holm
from embedshift.questions.claims.tables import claims, paper_claims
from embedshift.statistics import intervals, sample
from embedshift.statistics.baselines import Baseline, cosine_pairs
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import weights
from support import studies
from support.claims_world import COLOR, GEOMETRIC, LEAST, METRICS, NAMES, branch_inside, noise_alone, table_of, world
from support.matrix import first_only

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

    def of_groups(self, values, metric):
        """Image values of the colour group's mean minus those of the least changed group's."""
        return [
            np.mean([values(metric, n) for n in COLOR], axis=0) - np.mean([values(metric, n) for n in LEAST], axis=0)
        ]

    def contrasts(self):
        """Of each claim about means and spreads, the image values of what must be above 0."""
        found, middle = {}, [*COLOR, *GEOMETRIC]
        for k, metric in enumerate(("l2_distance", "cosine_similarity")):
            (means,) = self.of_groups(self.mean, metric)
            found |= {
                f"1{'ab'[k]}": self.order(metric, ["noise"], but("noise")),
                f"4{'ab'[k]}": self.order(metric, but(*LEAST), LEAST),
                f"5{'ab'[k]}": self.order(metric, ["perspective"], but("noise", *GEOMETRIC)),
                f"5{'cd'[k]}": self.order(metric, ["shift_scale_rotate"], but("noise", *GEOMETRIC)),
                f"5{'ef'[k]}": self.order(metric, but("perspective", *LEAST), ["perspective"]),
                f"6{'ab'[k]}": self.of_groups(self.sd, metric),
                f"6{'cd'[k]}": [(-1) ** k * means],
                f"9{'ab'[k]}": self.order(metric, ["noise"], middle, LEAST),
            }
        found["8a"] = self.order("attention_similarity", ["noise"], but("noise"))
        found["8b"] = self.order("attention_similarity", SPREADING, but("noise", *SPREADING))
        return found | {"10" + part: [self.mean("rise", n)] for part, n in zip("abc", SPREADING, strict=True)}


def drawn(images, seed, resamples):
    """The images of each resample, one by one."""
    counts = np.vstack([*weights(images, seed=seed, resamples=resamples)]).astype(int)
    return [np.repeat(np.arange(images), row) for row in counts]


def deviations(values, resamples):
    """How far the means of each resample are from those of all images `[n, J]`, in the resample's own errors."""
    taken = (values[index] for index in resamples)
    middle, root = values.mean(axis=0), np.sqrt(len(values))
    return np.array([(each.mean(axis=0) - middle) / (each.std(axis=0, ddof=1) / root) for each in taken])


def by_hand(values, resamples, mirrored):
    """Estimate, interval and the two p of one claim, from explicit resamples."""
    estimates, errors = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
    t, again = estimates / errors, deviations(values, resamples)
    again = np.vstack([again, -again]) if mirrored else again
    one_sided = (1 + (again >= t).sum(axis=0)) / (1 + len(again))
    furthest = (-again).max(axis=1)
    reversal = (1 + sum(furthest >= max(-t))) / (1 + len(again))
    below, above = (np.quantile(side, 0.975, axis=0, method="higher") for side in (again, furthest))
    ends = min(estimates - below * errors), min(estimates + above * errors)
    return min(estimates), *ends, max(one_sided), reversal


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


@pytest.mark.slow
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
        wanted = by_hand(np.stack(values, axis=1), resamples, mirrored=part in ("6a", "6b"))
        row, found = table[part], tests[part].find(bootstrap)
        assert (row["estimate"], row["ci_low"], row["ci_high"], *found.p) == pytest.approx(wanted, abs=1e-9), part
        assert row["p_value"] == min(found.p)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_standard_deviations_and_their_errors_are_those_of_a_jackknife():
    values = np.exp(np.random.default_rng(3).normal(size=(400, 1)) * 0.5)
    evidence = gather([{("l2_distance", "blur"): values}])
    n, place = len(values), evidence.columns["sd", "l2_distance", "blur"]
    left_out = np.array([np.delete(values, i).std(ddof=1) for i in range(n)])
    pseudo = n * values.std(ddof=1) - (n - 1) * left_out
    assert evidence.sample.mean[place] == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert evidence.sample.error[place] == pytest.approx(pseudo.std(ddof=1) / np.sqrt(n), rel=0.03)
    assert np.corrcoef(evidence.sample.values[:, place], pseudo)[0, 1] > 0.999


@pytest.mark.slow
def test_holm_against_its_definition():
    p = np.random.default_rng(0).uniform(size=(20, 2)) ** 3
    values, expected = p.ravel(), []
    ordered = sorted(values)
    for value in values:
        smaller = [(len(values) - rank) * other for rank, other in enumerate(ordered) if other <= value]
        expected.append(min(1.0, max(smaller)))
    np.testing.assert_allclose(holm(p).ravel(), expected)
    assert (np.array(expected) < 1).sum() > 5


SEED = 3
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
    t = values.mean(axis=0) / (values.std(axis=0, ddof=1) / np.sqrt(len(values)))
    again = deviations(values, drawn(len(values), SEED, RESAMPLES))
    up, down = again.max(axis=1), (-again).max(axis=1)
    shown = [sum(side > np.quantile(all_, 0.975, method="higher")) for side, all_ in ((t, up), (-t, down))]
    reached = sorted(t)[::-1][least - 1]
    p = [(1 + sum(all_ >= edge)) / (1 + RESAMPLES) for all_, edge in ((up, reached), (down, -reached))]
    return (sum(t > 0), shown[0], values.shape[1] - shown[1]), (p[0], p[1])


@pytest.mark.parametrize("size", first_only([1, 3]))
def test_the_count_of_relative_shifts_is_that_of_a_slow_bootstrap(size):
    originals, cosines = groups_of(30)
    evidence = evidence_of(originals, cosines, size)
    found = MostAltered(0.3).find(Bootstrap(evidence, [], seed=SEED, resamples=RESAMPLES))
    contrasts = slow_contrasts(originals, cosines, 0.3, size)
    together = MostAltered(0.3)._together(evidence.sample, evidence.baseline.pairs)
    np.testing.assert_allclose(together.values, contrasts, atol=1e-12)
    wanted, p = slow_count(contrasts, 5)
    assert (found.estimate, found.low, found.high) == wanted
    assert found.p == pytest.approx(p, abs=2 / RESAMPLES)
    assert 0 < wanted[1] < wanted[0] < wanted[2] < 9, "a number that never moves tests nothing"


def test_a_baseline_without_pairs_counts_apart():
    originals, cosines = groups_of(24)
    evidence, far = evidence_of(originals, cosines, 1), Baseline(0.4, 0.02)
    bootstrap = Bootstrap(evidence, [], seed=SEED, resamples=RESAMPLES)
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
