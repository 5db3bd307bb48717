"""What indexes find of changed images: against loops in float64 that share no line with the experiment."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from embedshift.questions.index import experiment as made
from embedshift.questions.index.experiment import TIE, Vectors, experiment
from embedshift.questions.index.tables import rows_of
from embedshift.statistics.index_parts import MAP, PARTS, Part
from embedshift.statistics.judged import Split
from embedshift.statistics.vectors import normalised_float32

pytestmark = pytest.mark.slow

DIM, RATE = 16, 0.05
NAMES = ("crop_a", "crop_b", "blur", "noise")
FAMILIES = {"crop_a": "crop", "crop_b": "crop", "blur": "blur", "noise": "noise"}
METRICS = ("recall@1", "recall@10", "mrr", f"matched@{RATE:g}", "neighbours@10")


def world(count=40, draws=1, per_group=1, gallery=0, seed=0, strength=2.0):
    rng = np.random.default_rng(seed)
    originals = rng.normal(size=(count, DIM)) * np.linspace(0.4, 1.6, DIM) + 0.3
    noise = rng.normal(size=(count, draws, len(NAMES), DIM)) * np.linspace(1.5, 0.3, DIM)
    others = normalised_float32((rng.normal(size=(gallery, DIM)) * np.linspace(0.4, 1.6, DIM) + 0.3).astype(np.float32))
    views = (originals[:, None, None] + strength * noise).astype(np.float32)
    groups = np.arange(count) // per_group
    return Vectors(
        normalised_float32(originals.astype(np.float32)), normalised_float32(views), groups, NAMES, others
    )  # fmt: skip


def found(names, given, families=FAMILIES):
    return dict(experiment(names, given, Split.of(given.groups, families), RATE))


def unit(vector):
    length = np.sqrt(sum(float(x) ** 2 for x in vector))
    return vector / length if length else vector


@dataclass
class Loop:
    """An index by hand, of float64, fitted to originals and the views of each."""

    name: str
    originals: list
    views: list

    def __post_init__(self):
        self.parts = self.name.split("+")
        self.originals = [each for each in self.originals if each.any()]
        self.mean, self.root = np.zeros(DIM), np.eye(DIM)
        if self.parts[0] in ("whiten", "centred"):
            self.mean = sum(self.originals) / len(self.originals)
        if self.parts[0] == "whiten":
            shifts = [view - original for original, views in self.views for view in views if view.any()]
            second = sum(np.outer(shift, shift) for shift in shifts) / len(shifts)
            ridge = 0.1 * sum(second[k, k] for k in range(DIM)) / DIM
            # Signs depend on which root: that of Cholesky, as the map has.
            self.root = np.linalg.inv(np.linalg.cholesky(second + ridge * np.eye(DIM))).T
        seen = np.array([self.moved(each) for each in self.originals])
        self.low, self.step = seen.min(axis=0), (seen.max(axis=0) - seen.min(axis=0)) / 255
        self.background = np.array([self.moved(each) for each in self.originals[:200]])
        self.sides = {}

    def moved(self, vector):
        return unit((vector - self.mean) @ self.root)

    def kept(self, moved, last=False):
        if "int8" in self.parts or (last and "rescore" in self.parts):
            return (np.clip(np.floor((moved - self.low) / self.step), 0, 255) + 0.5) * self.step + self.low
        return np.where(moved > 0, 1.0, -1.0) if "binary" in self.parts else moved

    def side(self, vector, last, asked):
        """A query or what is kept, and the mean of its ten highest scores with the background; made once for each."""
        key = vector.tobytes(), last, asked
        if key not in self.sides:
            moved = self.moved(vector)
            mine = moved if asked else self.kept(moved, last)
            others = self.kept(self.background, last) if asked else self.background
            self.sides[key] = mine, sum(sorted((others @ mine).tolist())[-10:]) / min(10, len(others))
        return self.sides[key]

    def score(self, query, vector, last=False):
        (asked, high), (kept, kept_high) = self.side(query, last, True), self.side(vector, last, False)
        return float(asked @ kept) - ((high + kept_high) / 2 if "normalised" in self.parts else 0)


def searched(loop, query, own, others, candidates):
    """Rank and score of the original, and the nearest ten, of one query; `others` = place → vector."""

    def before(last):
        scores = {place: loop.score(query, vector, last) for place, vector in others.items()}
        score = loop.score(query, own, last)
        return score, scores, sum(other >= score - TIE * max(1, abs(score)) for other in scores.values())

    score, scores, better = before(last=False)
    if "rescore" in loop.parts:
        is_candidate = better < candidates
        first = sorted(others, key=lambda place: (-scores[place], place))[: candidates - is_candidate]
        others = {place: others[place] for place in first}
        score, scores, better = before(last=True)
        if not is_candidate:
            score, better = -np.inf, np.inf
    return 1 + better, score, sorted(others, key=lambda place: (-scores[place], place))[:10]


def by_loops(name, given, candidates=100):
    """The metrics of an index, `[n, draws, A]` each, image by image."""
    originals, views, gallery = (
        np.float64(each) for each in (given.originals, given.views, given.gallery)
    )  # fmt: skip
    shape, count = views.shape[:3], len(originals)
    number = {metric: np.full(shape, np.nan) for metric in METRICS}
    scores, pairs = np.full(shape, np.nan), []
    exact = Loop("float32", list(originals), [])
    for fold in range(5):
        inside = [i for i in range(count) if given.groups[i] % 5 == fold]
        outside = [i for i in range(count) if given.groups[i] % 5 != fold]
        for columns in ([0, 1], [2], [3]) if name.startswith("whiten") else ([0, 1, 2, 3],):
            rest = [column for column in range(4) if column not in columns]
            seen = [(originals[i], views[i][:, rest].reshape(-1, DIM)) for i in outside if originals[i].any()]
            loop = Loop(name, [originals[i] for i in outside], seen)
            for i in inside:
                there = {j: originals[j] for j in inside if given.groups[j] != given.groups[i]}
                there |= {count + k: vector for k, vector in enumerate(gallery)}
                others = {place: vector for place, vector in there.items() if vector.any() and originals[i].any()}
                pairs += [loop.score(originals[i], vector, last=True) for vector in others.values()]
                for draw, column in ((d, a) for d in range(shape[1]) for a in columns):
                    where, query = (i, draw, column), views[i, draw, column]
                    if not query.any() or not originals[i].any():
                        continue
                    rank, scores[where], nearest = searched(loop, query, originals[i], others, candidates)
                    wanted = searched(exact, query, originals[i], others, candidates)[2]
                    most = min(10, max(1, (len(inside) + len(gallery) - 1) // 2))
                    numbers = rank <= 1, rank <= 10, 1 / rank, 0, len({*wanted[:most]} & {*nearest[:most]})
                    for metric, value in zip(METRICS, numbers, strict=True):
                        number[metric][where] = value
                    number[METRICS[4]][where] /= len(wanted[:most])
    ordered = sorted(pairs, reverse=True)
    refused = ordered[int(RATE * len(ordered) + 1e-9)]
    threshold = min(score for score in ordered if score > refused + 1e-7)
    number[METRICS[3]] = np.where(np.isnan(scores), np.nan, scores >= threshold - 1e-7)
    return number


COMPOSITIONS = ["float32", "whiten+binary", "centred+int8+normalised"]
WORLDS = {
    "plain": {},
    "groups": {"count": 48, "per_group": 3},
    "two draws": {"draws": 2, "count": 30},
    "a gallery": {"gallery": 30},
    "all": {"count": 42, "per_group": 2, "draws": 2, "gallery": 9},
}


def with_missing(given):
    views, originals, gallery = given.views.copy(), given.originals.copy(), given.gallery.copy()
    views[4, 0, 1] = views[9] = views[11, :, 2] = 0
    originals[7] = 0
    gallery[2:4] = 0
    return replace(given, views=views, originals=originals, gallery=gallery)


def assert_equal(tried, expected):
    for metric in METRICS:
        values = tried.outcomes[metric].values
        np.testing.assert_allclose(values, expected[metric], atol=1e-12, err_msg=f"{tried.index.name} {metric}")


@pytest.mark.parametrize("case", WORLDS)
def test_every_number_of_every_image_is_that_of_a_loop(case):
    given = world(**WORLDS[case])
    tried = found(COMPOSITIONS, given)
    assert [*tried] == COMPOSITIONS
    for name in COMPOSITIONS:
        assert_equal(tried[name], by_loops(name, given))
        assert 0.1 < tried[name].outcomes["mrr"].values.mean() < 0.99
        assert tried[name].searched == round(len(given.originals) / 5 + len(given.gallery))


def test_missing_views_and_originals_are_neither_queries_nor_results_nor_fitted_to():
    given = with_missing(world(gallery=12, draws=2))
    tried = found(COMPOSITIONS, given)
    for name in COMPOSITIONS:
        assert_equal(tried[name], by_loops(name, given))
        is_none = np.isnan(tried[name].outcomes["recall@1"].values)
        assert is_none[7].all()
        assert is_none.sum() == 1 + 8 + 2 + 8


@pytest.mark.parametrize("name", ["binary+rescore", "whiten+binary+rescore", "centred+binary+rescore+normalised"])
def test_rescore_orders_the_candidates_of_a_code_by_int8_as_a_loop_does(name, monkeypatch):
    monkeypatch.setattr(made, "CANDIDATES", 12)
    given = world(count=30, gallery=40, seed=3)
    tried = found([name], given)[name]
    expected = by_loops(name, given, candidates=12)
    assert_equal(tried, expected)
    assert 0 < (expected["mrr"] == 0).mean() < 0.6, "some originals are no candidates"


def test_a_gallery_in_blocks_is_that_of_one_block(monkeypatch):
    given, names = world(gallery=95), [*COMPOSITIONS, "binary+rescore", "pca-1/4+float16"]
    whole = found(names, given)
    monkeypatch.setattr(made, "BLOCK", 7)
    parts = found(names, given)
    for name in names:
        assert_equal(parts[name], {metric: whole[name].outcomes[metric].values for metric in METRICS})


@pytest.mark.parametrize("name", ["float32", "whiten", "centred+int8", "binary", "binary+rescore", "normalised"])
def test_copies_of_an_original_of_other_lengths_are_ties_and_come_before_it(name):
    """A search cannot tell the copies at length 2 and 3 from the original, which is third: recall@1 is 0."""
    given = world(strength=0.05)
    copies = [normalised_float32(factor * given.originals) for factor in (2, 3)]
    tried = found([name], replace(given, gallery=np.concatenate(copies)))[name]
    assert (tried.outcomes["recall@1"].values == 0).all()
    assert (tried.outcomes["recall@10"].values == 1).all()
    np.testing.assert_allclose(tried.outcomes["mrr"].values, 1 / 3)
    assert (found([name], given)[name].outcomes["recall@1"].values == 1).all()


def test_the_rows_of_float32_have_the_means_of_a_loop():
    given = world(count=60, draws=2, seed=5)
    tried = found(["int8"], given)
    rows = rows_of(tried, NAMES, None, 0.01, 0).filter(index="float32")
    expected = by_loops("float32", given)
    for metric in METRICS:
        of_changes = [expected[metric][:, :, column].mean() for column in range(4)]
        values = rows.filter(metric=metric)
        assert values["augmentation"].to_list() == [*NAMES, "all"]
        assert values["value"].to_list() == pytest.approx([*of_changes, np.mean(of_changes)], abs=1e-12)
        assert values["n"].to_list() == [120, 120, 120, 120, 480]
        assert values["difference"].to_list() == [0.0] * 5


def test_an_index_is_never_fitted_to_the_images_or_the_changes_that_it_is_judged_by(monkeypatch):
    given, seen = with_missing(world(count=40, draws=2, per_group=2, gallery=5)), []
    real = PARTS["whiten"]

    def fit(training, size):
        seen.append(training)
        return real.fit(training, size)

    monkeypatch.setitem(PARTS._entries, "whiten", replace(real, fit=fit))
    found(["whiten"], given)
    places = {given.originals[i].tobytes(): i for i in range(40)}
    views = {given.views[where].tobytes(): where for where in np.ndindex(40, 2, 4) if given.views[where].any()}
    assert len(seen) == 15
    for call, training in enumerate(seen):
        fold, judged = call // 3, ("crop", "blur", "noise")[call % 3]
        outside = {i for i in range(40) if given.groups[i] % 5 != fold and given.originals[i].any()}
        assert {places[each.tobytes()] for each in training.originals} == outside
        found_views = [views[each.tobytes()] for each in training.views.reshape(-1, DIM) if each.any()]
        allowed = {w for w in views.values() if w[0] in outside and FAMILIES[NAMES[w[2]]] != judged}
        assert {*found_views} == allowed
        assert len(found_views) == len(allowed) > 40
        for original, of_image in zip(training.originals, training.views, strict=True):
            assert {views[each.tobytes()][0] for each in of_image if each.any()} <= {places[original.tobytes()]}


def test_what_is_fitted_to_views_needs_a_second_family_of_changes():
    given = world()
    tried = found(["whiten+int8", "int8", "pca-14"], given, dict.fromkeys(NAMES, "crop"))
    assert tried["whiten+int8"] == "whiten is fitted to views of a second family of changes"
    few = found(["pca-14", "int8"], world(count=15))
    assert few["pca-14"] == "pca-14 is fitted to 15 originals or more, and there are 12"
    assert [name for name in tried if not isinstance(tried[name], str)] == ["float32", "int8", "pca-14"]


def test_a_part_that_is_added_is_one_of_an_index(monkeypatch):
    """It keeps every second number: what a loop finds of these."""

    def halved(arrays, vectors):
        return normalised_float32(vectors[:, ::2].repeat(2, axis=1))

    monkeypatch.setitem(PARTS._entries, "halved", Part(MAP, "halved", encode=halved))
    given = world(gallery=10)
    tried = found(["halved", "halved+binary+normalised"], given)
    half = [np.array(each[..., ::2].repeat(2, axis=-1)) for each in (given.originals, given.views, given.gallery)]
    shown = replace(given, originals=half[0], views=half[1], gallery=half[2])
    expected = by_loops("float32", shown)
    for metric in METRICS[:4]:
        np.testing.assert_allclose(tried["halved"].outcomes[metric].values, expected[metric], atol=1e-12)
    assert tried["halved+binary+normalised"].index.bytes_searched == 6
