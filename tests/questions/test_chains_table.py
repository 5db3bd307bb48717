"""The table of chains against loops over images, the prediction of others, and what is said of both."""

import itertools
import json

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.questions.chains.law import FAILS, HOLDS, UNDECIDED, of_direction, of_length, sentences
from embedshift.questions.chains.reference import Reference
from embedshift.questions.chains.sums import LEAST_CHAINS, of_a_new_one
from embedshift.statistics.meaning import space_of
from support.command import call

SIZE, COUNT = 10, 60
NAMES = "abcde"
PAIRS = [*itertools.permutations(NAMES, 2)]
NUMBERS = (
    "relative_shift",
    "predicted",
    "ratio",
    "cosine",
    "cosine_ceiling",
    "agreement",
    "recall",
    "recall_predicted",
)


def vectors(seed=0):
    """Originals, single changes, and chains that leave 0.8 of the sum of their parts."""
    rng = np.random.default_rng(seed)
    towards = dict(zip(NAMES, 2.0 * np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0][:5], strict=True))
    images = rng.normal(size=(COUNT, SIZE)) + 1.5

    def changed(*names):
        own = sum((towards[name] for name in names), np.zeros(SIZE))
        return images + (0.8 if len(names) > 1 else 1) * own + 0.3 * rng.normal(size=images.shape)

    views = {name: changed(name) for name in NAMES} | {"_then_".join(pair): changed(*pair) for pair in PAIRS}
    return images, views | {"a_then_b_then_c": changed("a", "b", "c")}


@pytest.fixture(scope="module")
def groups():
    return np.arange(COUNT) // 2


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    images, views = vectors()
    return embedshift.from_vectors(images, views, out=tmp_path_factory.mktemp("chains") / "study", model="A")


@pytest.fixture(scope="module")
def grouped(tmp_path_factory, groups):
    images, views = vectors()
    views = {name: views[name] for name in (*NAMES, "a_then_b")}
    folder = tmp_path_factory.mktemp("chains") / "grouped"
    return embedshift.from_vectors(images, views, out=folder, groups=groups, model="A")


def by_hand(images, views, name, parts, groups):
    """Every number of one chain, by loops over images."""

    def unit(rows):
        rows = rows.astype(np.float32).astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    o, own, moved = unit(images), unit(views[name]), [unit(views[part]) for part in parts]
    pairs = [(i, k) for i, k in itertools.permutations(range(COUNT), 2) if groups[i] != groups[k]]
    apart = 1 - np.mean([o[i] @ o[k] for i, k in pairs])
    guess = o + sum(each - o for each in moved)
    guess /= np.linalg.norm(guess, axis=1, keepdims=True)

    def recall(queries):
        others = [[k for k in range(COUNT) if groups[k] != groups[i]] for i in range(COUNT)]
        return np.mean([all(queries[i] @ o[i] > queries[i] @ o[k] for k in others[i]) for i in range(COUNT)])

    matrix = space_of(o.astype(np.float32), least=SIZE / (SIZE + COUNT)).matrix.astype(np.float64)
    chain, total = (own - o) @ matrix, sum(each - o for each in moved) @ matrix
    product, first, second = (
        np.mean([left[i] @ right[k] for i, k in pairs])
        for left, right in ((chain, total), (chain, chain), (total, total))
    )
    noisy = np.linalg.norm(chain.mean(axis=0)) * np.linalg.norm(total.mean(axis=0))
    measured, expected = ((1 - (o * each).sum(axis=1)).mean() / apart for each in (own, guess))
    return {
        "relative_shift": measured,
        "predicted": expected,
        "ratio": measured / expected,
        "cosine": product / noisy,
        "cosine_ceiling": np.sqrt(first * second) / noisy,
        "agreement": product / np.sqrt(first * second),
        "recall": recall(own),
        "recall_predicted": recall(guess),
    }


@pytest.mark.parametrize("chain", ["a_then_b", "e_then_c", "a_then_b_then_c"])
def test_every_number_is_that_of_a_loop(study, chain):
    images, views = vectors()
    row = study.chains().row(by_predicate=pl.col("chain") == chain, named=True)
    wanted = by_hand(images, views, chain, chain.split("_then_"), np.arange(COUNT))
    assert row["parts"] == chain.replace("_then_", ", ")
    assert {name: row[name] for name in NUMBERS} == pytest.approx(wanted, abs=2e-5)
    for name in ("relative_shift", "ratio", "agreement"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_images_of_a_group_are_neither_other_images_nor_results(grouped, groups):
    images, views = vectors()
    row = grouped.chains().row(0, named=True)
    assert {name: row[name] for name in NUMBERS} == pytest.approx(
        by_hand(images, views, "a_then_b", "ab", groups), abs=2e-5
    )


def test_the_order_effect_is_the_paired_difference_of_both_orders(study):
    table = {row["chain"]: row for row in study.chains().iter_rows(named=True)}
    one, two = table["a_then_b"], table["b_then_a"]
    assert one["order_effect"] == pytest.approx(one["relative_shift"] - two["relative_shift"], abs=1e-6)
    assert one["order_effect"] == pytest.approx(-two["order_effect"])
    assert one["order_effect_low"] < one["order_effect"] < one["order_effect_high"]
    assert table["a_then_b_then_c"]["order_effect"] is None


def test_recall_is_that_of_search(study):
    recall = {
        row["augmentation"]: row["value"] for row in study.search().filter(metric="recall@1").iter_rows(named=True)
    }
    for row in study.chains().iter_rows(named=True):
        assert row["recall"] == pytest.approx(recall[row["chain"]])


def test_an_interval_of_a_new_value_is_that_of_every_candidate():
    """A candidate is kept where more than 5 % of all values lie as far from the mean of all as it does."""
    rng = np.random.default_rng(0)
    for count in (19, 30, 60, 99):
        values = rng.standard_t(3, size=count)
        low, high = of_a_new_one(values)
        grid = np.linspace(values.min() - 5, values.max() + 5, 4001)
        every = np.column_stack([np.tile(values, (len(grid), 1)), grid])
        far = np.abs(every - every.mean(axis=1, keepdims=True))
        kept = grid[(far >= far[:, -1:] - 1e-12).mean(axis=1) > 0.05 + 1e-12]
        assert (low, high) == pytest.approx((kept.min(), kept.max()), abs=2 * (grid[1] - grid[0]))


def test_an_interval_of_a_new_value_covers_it():
    rng = np.random.default_rng(1)
    values = rng.exponential(size=(2_000, 31))
    covered = [low <= row[-1] <= high for row in values for low, high in [of_a_new_one(row[:-1])]]
    assert 0.95 - 0.01 < np.mean(covered) < 0.985


def test_a_prediction_is_that_of_its_vectors_and_of_all_measured_chains(study):
    found = study.predict(["d", "e"])
    row = study.chains().row(by_predicate=pl.col("chain") == "d_then_e", named=True)
    assert found.total == pytest.approx(row["predicted"])
    assert found.recall[0] == pytest.approx(row["recall_predicted"])
    logs = np.log(study.chains()["ratio"].to_numpy())
    assert found.shift == pytest.approx([found.total * np.exp(end) for end in (logs.mean(), *of_a_new_one(logs))])
    assert found.chains == len(PAIRS) + 1
    assert found.table.columns[0] == "parts"


def test_the_command_predicts_and_refuses(study, grouped, monkeypatch, capsys):
    done = call(monkeypatch, capsys, "dissect", study.folder, "--predict", "a,b,d", "--json")
    assert json.loads(done.out)["predicted"][0]["parts"] == "a, b, d"
    for words, error in (
        (["--predict", "a"], "give two augmentations or more"),
        (["--predict", "a,x"], "unknown augmentation of this study 'x'"),
        ([], "give PAIRS, or with --predict the changes of a chain"),
    ):
        done = call(monkeypatch, capsys, "dissect", study.folder, *words)
        assert done.code == 2
        assert error in done.line
    with pytest.raises(UsageError, match=f"has 1 of them: an interval needs {LEAST_CHAINS} measured chains"):
        grouped.predict(["a", "c"])


def test_chains_are_no_candidates_of_a_dissection(study):
    assert Reference.of(study.reader()).singles == [*NAMES]
    images, views = vectors(seed=0)
    pairs = np.stack([images, views["a_then_b"]], axis=1)
    assert set(study.dissect(pairs).table["augmentation"].drop_nulls()) == {*NAMES}


def row(**changed):
    made = {
        "chain": "x",
        "agreement_low": 0.95,
        "agreement_high": 1.0,
        "ratio": 0.8,
        "ratio_low": 0.7,
        "ratio_high": 0.9,
    }
    return made | {"recall": 0.9, "recall_predicted": 0.85, "order_effect": None, "order_effect_low": None} | changed


def test_a_law_holds_does_not_or_is_undecided():
    assert of_direction(row()) == HOLDS
    assert of_direction(row(agreement_low=0.5, agreement_high=0.89)) == FAILS
    assert of_direction(row(agreement_low=0.5)) == UNDECIDED
    assert of_direction(row(agreement_low=None, agreement_high=None)) == UNDECIDED
    assert of_length(row()) == HOLDS
    assert of_length(row(ratio_low=1.1, ratio_high=1.2)) == FAILS
    assert of_length(row(ratio_high=1.2)) == UNDECIDED
    words = [*sentences(pl.DataFrame([row(), row(chain="y", agreement_high=0.6, agreement_low=0.5, recall=0.8)]))]
    assert "holds for 1 of 2 chains, does not for 1 (y), undecided for 0" in words[0]
    assert "holds for 2 of 2 chains" in words[1]
    assert "in 1 of 2 chains; at most 5.0 points fewer" in words[2]


def test_the_report_has_the_section_and_the_figure(study):
    page = study.report(formats=["svg"]).read_text()
    assert 'id="chains"' in page
    assert (study.folder / "figures" / "fig31_chains.svg").is_file()
