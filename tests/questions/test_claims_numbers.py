"""Claims: every number against a slow loop that takes the same resamples by index."""

import numpy as np
import polars as pl
import pytest
from scipy.cluster.hierarchy import fcluster, linkage, to_tree
from scipy.stats import entropy, spearmanr

from embedshift.questions.claims.evidence import gather
from embedshift.questions.claims.tables import claims
from embedshift.statistics.summary import summary
from support.claims_world import COLOR, GEOMETRIC, LEAST, METRICS, NAMES, world


def clusters_of(condensed):
    tree = linkage(condensed, "ward")
    return tree, fcluster(tree, 0.7 * tree[:, 2].max(), "distance")


def noise_alone(condensed):
    _, found = clusters_of(condensed)
    return (found == found[0]).sum() == 1


def branch_inside(condensed, names):
    tree, found = clusters_of(condensed)
    wanted = {NAMES.index(name) for name in names}
    _, nodes = to_tree(tree, rd=True)
    branch = any(set(node.pre_order()) == wanted for node in nodes)
    cluster = {i for i in range(9) if found[i] == found[NAMES.index(names[0])]}
    return branch and wanted < cluster and 0 not in cluster


class Slow:
    """Statistics of a frame by the plainest means: `values[metric, name]` is `[images, draws]`."""

    def __init__(self, rows: pl.LazyFrame, draws: int):
        frame = rows.collect()
        self.values = {}
        for name in NAMES:
            part = frame.filter(pl.col("view") == name)
            for metric in METRICS:
                self.values[metric, name] = part[metric].fill_null(np.nan).to_numpy().reshape(-1, draws)
            maps = part["attention"].to_numpy().astype(np.float64)
            origin = frame.filter(pl.col("view") == "original")["attention"].to_numpy().astype(np.float64)
            before = [entropy(row / row.sum()) for row in origin]
            after = [entropy(row / row.sum()) for row in maps]
            self.values["rise", name] = np.array(after).reshape(-1, draws) - np.array(before)[:, None]
        lists = frame.filter(pl.col("view") == "original")["pairwise"].to_list()
        self.distances = np.array(lists, dtype=np.float32).astype(np.float64).reshape(len(lists), draws, 36)
        self.images = len(lists)

    def mean(self, metric, names, index):
        return [np.nanmean(self.values[metric, name][index]) for name in names]

    def sd(self, metric, names, index):
        return np.mean([np.nanstd(self.values[metric, name][index], ddof=1) for name in names])

    def statistics(self, index):
        return dict(sorted((self.shifts(index) | self.rest(index) | self.trees(index)).items(), key=in_order))

    def shifts(self, index):
        def far(names):
            return self.mean("l2_distance", names, index)

        def near(names):
            return self.mean("cosine_similarity", names, index)

        middle, six = COLOR + GEOMETRIC, but("noise", *GEOMETRIC)
        others = but("perspective", *LEAST)
        (far_noise, far_turned, far_seen), (near_noise, near_turned, near_seen) = (
            measure(["noise", *GEOMETRIC]) for measure in (far, near)
        )
        return {
            "1a": far_noise - max(far(but("noise"))),
            "1b": min(near(but("noise"))) - near_noise,
            "4a": min(far(but(*LEAST))) - max(far(LEAST)),
            "4b": min(near(LEAST)) - max(near(but(*LEAST))),
            "5a": far_seen - max(far(six)),
            "5b": min(near(six)) - near_seen,
            "5c": far_turned - max(far(six)),
            "5d": min(near(six)) - near_turned,
            "5e": min(far(others)) - far_seen,
            "5f": near_seen - max(near(others)),
            "6a": self.sd("l2_distance", COLOR, index) - self.sd("l2_distance", LEAST, index),
            "6b": self.sd("cosine_similarity", COLOR, index) - self.sd("cosine_similarity", LEAST, index),
            "6c": np.mean(far(COLOR)) - np.mean(far(LEAST)),
            "6d": np.mean(near(LEAST)) - np.mean(near(COLOR)),
            "9a": min(far_noise - max(far(middle)), min(far(middle)) - max(far(LEAST))),
            "9b": min(min(near(middle)) - near_noise, min(near(LEAST)) - max(near(middle))),
        }

    def rest(self, index):
        detail, edge, cosine, seen = (
            dict(zip(NAMES, self.mean(metric, NAMES, index), strict=True))
            for metric in ("detail_preservation", "edge_preservation", "cosine_similarity", "attention_similarity")
        )
        eight = but("horizontal_flip")
        behind = {n: sorted(cosine.values()).index(cosine[n]) - sorted(detail.values()).index(detail[n]) for n in NAMES}
        spreading = ["blur", "shift_scale_rotate", "perspective"]
        found = {
            "7a": spearmanr([detail[n] for n in eight], [cosine[n] for n in eight])[0],
            "7b": spearmanr([edge[n] for n in NAMES], [cosine[n] for n in NAMES])[0],
            "7c": behind["horizontal_flip"] - max(behind[n] for n in eight),
            "8a": min(seen[n] for n in but("noise")) - seen["noise"],
            "8b": min(seen[n] for n in but("noise", *spreading)) - max(seen[n] for n in spreading),
        }
        return found | dict(zip(("10a", "10b", "10c"), self.mean("rise", spreading, index), strict=True))

    def trees(self, index):
        condensed = np.nanmean(self.distances[index].reshape(-1, 36), axis=0)
        return {
            "2a": noise_alone(condensed),
            "3a": branch_inside(condensed, GEOMETRIC),
            "3b": branch_inside(condensed, ["blur", *GEOMETRIC]),
        }


def in_order(item):
    return int(item[0][:-1]), item[0][-1]


def but(*names):
    return [name for name in NAMES if name not in names]


def blurred_world(draws: int) -> pl.LazyFrame:
    """A world with little left of the paper's order, so that every statistic moves from resample to resample."""
    means = {metric: {name: 0.5 + 0.02 * i for i, name in enumerate(NAMES)} for metric in METRICS}
    sds = {metric: {name: 0.1 + 0.01 * i for i, name in enumerate(NAMES)} for metric in METRICS}
    pairs = {(a, b): 0.3 for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]}
    tight = {("shift_scale_rotate", "perspective"): 0.2, ("blur", "perspective"): 0.22}
    tight |= {("blur", "shift_scale_rotate"): 0.22} | {("noise", n): 0.33 for n in NAMES[1:]}
    heat = dict.fromkeys(("blur", "shift_scale_rotate", "perspective"), 1.02)
    wobble = dict.fromkeys(pairs, 0.15 * draws**0.5)
    return world(25, draws, means, sds, pairs | tight, wobble, heat, seed=5)


def with_holes(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Some values become NaN, as for an image without detail."""
    frame = rows.collect()
    hole = (pl.int_range(pl.len()) % 17 == 5) & (pl.col("view") != "original")
    return frame.with_columns(pl.when(hole).then(np.nan).otherwise(pl.col(m)).alias(m) for m in METRICS).lazy()


@pytest.mark.parametrize(("draws", "holes"), [(1, False), (3, True)])
def test_every_number_equals_a_slow_bootstrap_over_the_same_draws(draws, holes):
    rows = with_holes(blurred_world(draws)) if holes else blurred_world(draws)
    table = claims(rows, NAMES, seed=11, resamples=200)
    slow = Slow(rows, draws)
    rng = np.random.default_rng(11)
    resampled = [slow.statistics(rng.integers(slow.images, size=slow.images)) for _ in range(200)]
    as_it_is = slow.statistics(np.arange(slow.images))
    assert table["claim"].to_list() == list(as_it_is)
    for row in table.iter_rows(named=True):
        part = row["claim"]
        values = np.array([statistics[part] for statistics in resampled], float)
        assert np.ptp(values) > 0, f"{part}: a statistic that never moves tests nothing"
        if part in ("2a", "3a", "3b"):
            assert row["estimate"] == pytest.approx(values.mean(), abs=1e-12)
            assert row["ci_low"] is None
            assert row["ci_high"] is None
        else:
            expected = (as_it_is[part], *np.quantile(values, (0.025, 0.975)))
            assert (row["estimate"], row["ci_low"], row["ci_high"]) == pytest.approx(expected, abs=1e-6), part


def test_intervals_come_from_the_resamples_of_the_summary():
    paper_world = world()
    evidence = gather(paper_world, NAMES, seed=4)
    table = summary(paper_world, NAMES, ["l2_distance", "cosine_similarity"], seed=4)
    for row in table.iter_rows(named=True):
        column = evidence.columns[row["metric"], row["augmentation"]]
        assert column[0] == pytest.approx(row["mean"], abs=1e-12)
        assert np.quantile(column[1:], (0.025, 0.975)) == pytest.approx((row["ci_low"], row["ci_high"]), abs=1e-12)
        spread = evidence.columns["sd", row["metric"], row["augmentation"]]
        assert spread[0] == pytest.approx(row["sd"], abs=1e-12)
