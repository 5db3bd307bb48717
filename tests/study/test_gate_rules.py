"""A file of rules: what it may say, and the one line that every mistake gives."""

import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.study.gate.rules import read_rules
from support.comparing import OTHER, moved, variant
from support.graded import CLOSER, graded
from support.searched import ranked, with_search
from support.synthetic import make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = make_study(tmp_path_factory.mktemp("rules") / "a", 20, ["blur", "noise"])
    return with_search(made, {"blur": ranked(20), "noise": ranked(20, lost=3)})


@pytest.fixture(scope="module")
def other(study, tmp_path_factory):
    return variant(study, tmp_path_factory.mktemp("rules") / "b", moved(0.0, 1), **OTHER)


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("rules") / "f", 20, graded(CLOSER))


def refusal(study, *lines, against=None):
    with pytest.raises(UsageError) as error:
        embedshift.check(study, [dict(lines)] if lines else [], against)
    return str(error.value)


OF_SEARCH = (("table", "search"), ("metric", "recall@1"))
MISTAKES = {
    "table": ([("table", "serach"), ("at_least", 1)], "unknown table 'serach'; did you mean 'search'?"),
    "no table": (
        [("metric", "recall@1"), ("at_least", 1)],
        "name its table: summary, differences, comparison, agreement, tol",
    ),
    "key": ([*OF_SEARCH, ("augmentatoin", "blur"), ("at_least", 1)], "unknown key 'augmentatoin'; did you mean"),
    "key of another table": ([*OF_SEARCH, ("family", "blur"), ("at_least", 1)], "unknown key 'family'"),
    "column": ([*OF_SEARCH, ("column", "ci_low"), ("at_least", 1)], "unknown column 'ci_low'. Known: value"),
    "name": (
        [*OF_SEARCH, ("augmentation", "blurr"), ("at_least", 1)],
        "unknown augmentation 'blurr'; did you mean 'blur'",
    ),
    "metric": ([("table", "search"), ("metric", "recal@1"), ("at_least", 1)], "unknown metric 'recal@1'; did you mean"),
    "operator": ([*OF_SEARCH, ("atleast", 1)], "unknown key 'atleast'; did you mean 'at_least'?"),
    "no operator": ([*OF_SEARCH], "give one of at_least, at_most, may_fall, may_rise"),
    "operators": ([*OF_SEARCH, ("at_least", 0), ("may_fall", 0)], "not at_least and may_fall"),
    "text": ([*OF_SEARCH, ("at_least", "high")], "at_least: give a number, not 'high'"),
    "true": ([*OF_SEARCH, ("at_least", True)], "at_least: give a number, not True"),
    "not a number": ([*OF_SEARCH, ("at_least", float("nan"))], "at_least: give a number, not nan"),
    "infinite": ([*OF_SEARCH, ("at_most", float("inf"))], "at_most: give a number, not inf"),
    "negative": ([*OF_SEARCH, ("may_fall", -0.01)], "may_fall: give 0 or more, not -0.01"),
    "judge": ([*OF_SEARCH, ("judge", "mean"), ("at_least", 1)], "unknown judge 'mean'"),
    "percent": ([*OF_SEARCH, ("at_least", 95)], "the bound 95 is outside the range of recall@1, 0 to 1"),
    "unit": (
        [*OF_SEARCH, ("unit", "%"), ("at_least", 1)],
        "unit '%' is wrong: value of recall@1 has unit 'fraction'",
    ),
    "unit of a number": (
        [("table", "summary"), ("metric", "cosine_similarity"), ("unit", "m"), ("at_least", 0)],
        "unit 'm' is wrong: mean of cosine_similarity has no unit",
    ),
    "empty list": (
        [("table", "differences"), ("augmentation", "blur"), ("other", "noise"), ("metric", []), ("at_least", 0)],
        "metric: give a name or a list of names",
    ),
    "list of names; put names": ([*OF_SEARCH, ("augmentation", False), ("at_least", 1)], "in quotes"),
    "no interval": (
        [("table", "summary"), ("column", "median"), ("at_least", 0)],
        "median has no interval; write 'judge: value'",
    ),
    "differences": ([("table", "differences"), ("may_fall", 0)], "differences cannot be compared with a reference"),
    "comparison": ([("table", "comparison"), ("may_rise", 0)], "comparison cannot be compared with a reference"),
    "spread": (
        [("table", "summary"), ("column", "sd"), ("judge", "value"), ("may_rise", 0)],
        "except mean, relative_shift",
    ),
    "missing table": ([("table", "tolerance"), ("unit", "stops"), ("at_least", 1)], "no tolerance here"),
    "a column that is gone": ([("table", "comparison"), ("study", "a"), ("at_least", 0)], "unknown key 'study'"),
    "two lines": ([*OF_SEARCH, ("name", "a\nb"), ("at_least", 1)], "name: give one line of text"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_line_that_names_the_rule(study, name):
    entry, words = MISTAKES[name]
    line = refusal(study, *entry)
    assert line.startswith("rule 1: ")
    assert words in line
    assert "\n" not in line


def test_rules_of_two_studies_need_a_reference(study):
    rules = [{"table": "search", "metric": "recall@1", "at_least": 0}, {"table": "comparison", "at_least": 0}]
    rules += [{"table": "agreement", "at_least": 0}, {"table": "search", "metric": "recall@1", "may_fall": 0.1}]
    with pytest.raises(UsageError, match=r"^3 of 4 rules need a reference study: .*`against` \(first: rule 2\)$"):
        embedshift.check(study, rules)


def test_what_cannot_be_paired_is_refused(study, other):
    line = refusal(study, ("table", "search"), ("metric", "auc"), ("may_fall", 0.1), against=other)
    assert "auc describes pairs of images and has no difference per image" in line
    line = refusal(study, ("table", "summary"), ("metric", "l2_distance"), ("may_rise", 0.1), against=other)
    assert "l2_distance has different units in different encoders" in line


@pytest.mark.slow
def test_a_tolerance_needs_its_unit(families):
    rule = [("table", "tolerance"), ("family", "closer"), ("at_most", 0.5)]
    assert "tolerance needs 'unit'" in refusal(families, *rule)
    line = refusal(families, *rule, ("unit", "stops"))
    assert "unit 'stops' is wrong: value of closer has unit 'fraction of the side kept'" in line
    fits = dict([*rule, ("unit", "fraction of the side kept")])
    results = embedshift.check(families, [fits]).results
    assert [each.row["criterion"] for each in results] == ["relative shift 0.1", "missed 5 %"]
    line = refusal(families, *fits.items(), ("criterion", "missed"))
    assert "unknown criterion 'missed'" in line


def test_no_row_of_a_table_fits(study):
    rule = [("table", "differences"), ("augmentation", "blur"), ("other", "noise"), ("at_least", -0.4)]
    assert len(embedshift.check(study, [dict(rule)]).results) == len(study.metrics)
    line = refusal(study, ("table", "differences"), ("augmentation", "noise"), ("at_least", 0))
    assert "unknown augmentation 'noise'" in line


FILES = {
    "no rules": ("a: 1", "the file must contain 'rules:' with a list of rules"),
    "more": ("rules: []\nstrict: true", "and nothing else"),
    "empty": ("rules: []", "the list of rules is empty"),
    "not a list": ("rules: {table: search}", "with a list of rules"),
    "a text": ("rules: [search]", "rule 1: give 'key: value' lines"),
    "second": ("rules:\n- {table: search, at_least: 0}\n- {table: search}", "rule 2: give one of"),
    "twice": ("rules:\n- {table: search, at_least: 0, at_least: 1}", "'at_least' appears twice"),
    "alias": ("rules:\n- &a {table: search, at_least: 0}\n- *a", "anchors and aliases"),
    "not YAML": ("rules: [", "not YAML"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_wrong_is_named(tmp_path, name):
    text, words = FILES[name]
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_rules(file)
    assert str(error.value).startswith(f"{file}: ")
    assert words in str(error.value)


def test_a_filter_may_be_a_number(tmp_path):
    made = make_study(tmp_path / "a", 9, ["12", "13"])
    rule = {"table": "summary", "metric": "cosine_similarity", "augmentation": 12, "at_least": 0}
    assert [result.place for result in embedshift.check(made, [rule]).results] == ["12, cosine_similarity"]


def test_filters_choose_rows(study):
    def places(**where):
        rule = {"table": "search", "at_least": 0.1} | where
        return [result.place for result in embedshift.check(study, [rule]).results]

    assert len(places()) == 12
    assert places(metric="recall@1") == ["blur, recall@1", "noise, recall@1"]
    assert places(metric=["mrr", "auc"], augmentation="noise") == ["noise, mrr", "noise, auc"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"table": "search", "metric": "recall@1", "may_fall": 3}, "cannot change by 3 or more"),
        ({"table": "search", "metric": "mrr", "may_fall": 1}, "cannot change by 1 or more"),
        ({"table": "summary", "metric": "cosine_similarity", "may_fall": 2}, "cannot change by 2 or more"),
        ({"table": "summary", "metric": "cosine_similarity", "at_least": 10**400}, "give a number"),
        (
            {"table": "search", "metric": "recall@1", "at_least": 0},
            "rule 1: value of recall@1 ranges from 0 to 1, so that at_least 0 cannot fail",
        ),
        ({"table": "search", "metric": "recall@1", "at_most": 1}, "at_most 1 cannot fail"),
        ({"table": "summary", "metric": "cosine_similarity", "at_least": -1}, "from -1 to 1, so that at_least -1"),
        ({"table": "summary", "metric": "cosine_similarity", "column": "relative_shift", "at_least": -5}, "0 to inf"),
        ({"table": "differences", "metric": "cosine_similarity", "at_most": 2}, "from -2 to 2"),
        ({"table": "comparison", "metric": "recall@1", "at_least": -1}, "from -1 to 1"),
        ({"table": "agreement", "at_least": -1}, "from -1 to 1"),
    ],
)
def test_a_bound_that_nothing_can_break_is_refused(study, other, rule, words):
    assert words in refusal(study, *rule.items(), against=other)


def test_a_number_with_an_exponent_is_a_number(study, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n  - {table: summary, metric: cosine_similarity, at_least: -1e-3}\n")
    assert embedshift.check(study, file).results[0].bound == -0.001
