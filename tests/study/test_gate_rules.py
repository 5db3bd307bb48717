"""A file of rules: what it may say, and the one line that every mistake gives."""

import re

import pytest

import embedshift
from embedshift.errors import UsageError
from support import studies
from support.comparing import OTHER, moved, rule, variant
from support.searched import ranked, with_search
from support.synthetic import make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    views = {"blur": ranked(20), "noise": ranked(20, lost=3), "12": ranked(20)}
    return with_search(make_study(tmp_path_factory.mktemp("rules") / "a", 20, [*views]), views)


RECALL, COSINE = "table: search, metric: recall@1", "table: summary, metric: cosine_similarity"
BLUR, CLOSER = "table: differences, augmentation: blur, other: noise", "table: tolerance, family: closer, at_most: 0.5"
# A rule → a part of its line. First, rules of one study.
ALONE = {
    "table: serach, at_least: 1": "unknown table 'serach'; did you mean 'search'?",
    "metric: recall@1, at_least: 1": "name its table: summary, differences, comparison, upgrade, agreement, tol",
    f"{RECALL}, augmentatoin: blur, at_least: 1": "unknown key 'augmentatoin'; did you mean",
    f"{RECALL}, family: blur, at_least: 1": "unknown key 'family'",
    "table: comparison, study: a, at_least: 0": "unknown key 'study'",
    f"{RECALL}, column: ci_low, at_least: 1": "unknown column 'ci_low'. Known: value",
    f"{RECALL}, augmentation: blurr, at_least: 1": "unknown augmentation 'blurr'; did you mean 'blur'",
    f"{RECALL}, augmentation: false, at_least: 1": "give a name or a list of names; put names such as yes or off in qu",
    f"{BLUR}, metric: [], at_least: 0": "metric: give a name or a list of names",
    "table: differences, augmentation: '12', at_least: 0": "unknown augmentation '12'",
    "table: search, metric: recal@1, at_least: 1": "unknown metric 'recal@1'; did you mean",
    f"{RECALL}, atleast: 1": "unknown key 'atleast'; did you mean 'at_least'?",
    RECALL: "give one of at_least, at_most, may_fall, may_rise",
    f"{RECALL}, at_least: 0, may_fall: 0": "not at_least and may_fall",
    f"{RECALL}, at_least: high": "at_least: give a number, not 'high'",
    f"{RECALL}, at_least: true": "at_least: give a number, not True",
    f"{RECALL}, at_least: .nan": "at_least: give a number, not nan",
    f"{RECALL}, at_most: .inf": "at_most: give a number, not inf",
    f"{COSINE}, at_least: {10**400}": "give a number",
    f"{RECALL}, may_fall: -0.01": "may_fall: give 0 or more, not -0.01",
    f"{RECALL}, judge: mean, at_least: 1": "unknown judge 'mean'",
    f'{RECALL}, name: "a\\nb", at_least: 1': "name: give one line of text",
    f"{RECALL}, at_least: 95": "the bound 95 is outside the range of recall@1, 0 to 1",
    f"{RECALL}, unit: '%', at_least: 1": "unit '%' is wrong: value of recall@1 has unit 'fraction'",
    f"{COSINE}, unit: m, at_least: 0": "unit 'm' is wrong: mean of cosine_similarity has no unit",
    "table: summary, column: median, at_least: 0": "median has no interval; write 'judge: value'",
    "table: differences, may_fall: 0": "differences cannot be compared with a reference",
    "table: comparison, may_rise: 0": "comparison cannot be compared with a reference",
    "table: summary, column: sd, judge: value, may_rise: 0": "except mean, relative_shift",
    "table: tolerance, unit: stops, at_least: 1": "no tolerance here",
    f"{RECALL}, at_least: 0": "value of recall@1 ranges from 0 to 1, so that at_least 0 cannot fail",
    f"{RECALL}, at_most: 1": "at_most 1 cannot fail",
    f"{COSINE}, at_least: -1": "from -1 to 1, so that at_least -1",
    f"{COSINE}, column: relative_shift, at_least: -5": "0 to inf",
    "table: differences, metric: cosine_similarity, at_most: 2": "from -2 to 2",
}
OF_TWO = {
    "table: search, metric: auc, may_fall: 0.1": "auc describes pairs of images and has no difference per image",
    "table: summary, metric: l2_distance, may_rise: 0.1": "l2_distance has different units in different encoders",
    f"{RECALL}, may_fall: 3": "cannot change by 3 or more",
    "table: search, metric: mrr, may_fall: 1": "cannot change by 1 or more",
    f"{COSINE}, may_fall: 2": "cannot change by 2 or more",
    "table: comparison, metric: recall@1, at_least: -1": "from -1 to 1",
    "table: agreement, at_least: -1": "from -1 to 1",
}
OF_FAMILIES = {
    CLOSER: "tolerance needs 'unit'",
    f"{CLOSER}, unit: stops": "unit 'stops' is wrong: value of closer has unit 'fraction of the side kept'",
    f"{CLOSER}, unit: fraction of the side kept, criterion: missed": "unknown criterion 'missed'",
}
FILES = {
    "a: 1": "the file must contain 'rules:' with a list of rules",
    "rules: []\nstrict: true": "and nothing else",
    "rules: []": "the list of rules is empty",
    "rules: {table: search}": "with a list of rules",
    "rules: [search]": "rule 1: give 'key: value' lines",
    "rules:\n- {table: search, at_least: 0}\n- {table: search}": "rule 2: give one of",
    "rules:\n- {table: search, at_least: 0, at_least: 1}": "'at_least' appears twice",
    "rules:\n- &a {table: search, at_least: 0}\n- *a": "anchors and aliases",
    "rules: [": "not YAML",
}


def refusal(call):
    with pytest.raises(UsageError) as error:
        call()
    return str(error.value)


@pytest.mark.slow
def test_a_mistake_gives_one_line_that_names_the_rule(study, tmp_path):
    for given, reference, cases in (
        (study, None, ALONE),
        (study, variant(study, tmp_path / "b", moved(0.0, 1), **OTHER), OF_TWO),
        (studies.families(), None, OF_FAMILIES),
    ):
        lines = {text: refusal(lambda: embedshift.check(given, [rule(text)], reference)) for text in cases}  # noqa: B023
        for text, line in lines.items():
            assert cases[text] in line, text
            assert re.fullmatch("rule 1: .*", line), text


def test_a_file_that_is_wrong_is_named(study, tmp_path):
    file = tmp_path / "rules.yaml"
    for text, words in FILES.items():
        file.write_text(text)
        line = refusal(lambda: embedshift.check(study, file))
        assert line.startswith(f"{file}: "), text
        assert words in line, text


def test_rules_of_two_studies_need_a_reference(study):
    texts = [f"{RECALL}, at_least: 0", "table: comparison, at_least: 0", "table: agreement, at_least: 0"]
    rules = [rule(text) for text in (*texts, f"{RECALL}, may_fall: 0.1")]
    with pytest.raises(UsageError, match=r"^3 of 4 rules need a reference study: .*`against` \(first: rule 2\)$"):
        embedshift.check(study, rules)


def test_filters_choose_rows(study):
    def places(given, text):
        return [result.place for result in embedshift.check(given, [rule(text)]).results]

    assert len(places(study, "table: search, at_least: 0.1")) == 3 * 6
    assert places(study, f"{RECALL}, at_least: 0.1") == ["blur, recall@1", "noise, recall@1", "12, recall@1"]
    assert places(study, f"{COSINE}, augmentation: 12, at_least: 0") == ["12, cosine_similarity"], "a number"
    several = "table: search, metric: [mrr, auc], augmentation: noise, at_least: 0.1"
    assert {*places(study, several)} == {"noise, mrr", "noise, auc"}
    assert len(places(study, f"{BLUR}, at_least: -0.4")) == len([*study.metrics, "recall@1"])
    criteria = places(studies.families(), f"{CLOSER}, unit: fraction of the side kept")
    assert criteria == ["closer, relative shift 0.1", "closer, missed 5 %"]


def test_a_rule_has_a_title_and_its_bound_may_have_an_exponent(study, tmp_path):
    (tmp_path / "rules.yaml").write_text(
        f"rules:\n  - {{{COSINE}, at_least: -1e-3}}\n  - {{{RECALL}, may_fall: 0.01}}\n"
    )
    reference = studies.copied(study, tmp_path / "reference")
    found = embedshift.check(study, tmp_path / "rules.yaml", reference).results
    assert {(each.number, each.bound, each.rule) for each in found} == {
        (1, -0.001, "summary: mean at least -0.001"), (2, 0.01, "search: value may fall by 0.01"),
    }  # fmt: skip
    named = embedshift.check(study, [rule(f"{RECALL}, may_fall: 0.01, name: mine")], reference).results
    assert {each.rule for each in named} == {"mine"}
