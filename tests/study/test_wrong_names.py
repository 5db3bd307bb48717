"""A wrong name of a table, of a setting, or a rate in another form, in Python."""

import dataclasses
import inspect
import re

import pytest

from embedshift.errors import UsageError
from embedshift.questions.clusters import Tree
from embedshift.questions.search import Choices
from embedshift.store.reader import Reader
from support import studies

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return studies.copied(studies.plain(), tmp_path_factory.mktemp("names") / "study")


def test_the_nearest_name_is_suggested(study):
    with pytest.raises(AttributeError, match=r"^'Study' object has no attribute 'sumary'; did you mean 'summary'\?$"):
        study.sumary()
    with pytest.raises(AttributeError, match=r"did you mean 'drift'"):
        study.drifts()
    with pytest.raises(UsageError, match=r"^unknown setting of search 'queris'; did you mean 'queries'\? Known: "):
        study.search(queris=9)
    with pytest.raises(AttributeError, match=r"no attribute '_repr_png_'$"):
        study._repr_png_()


def test_a_rate_is_a_number_a_text_or_a_list(study):
    wanted = [0.5, 0.4]
    for given in ([0.4, 0.5], "0.4,0.5", ("0.5", 0.4)):
        assert study.thresholds(false_match_rate=given)["false_match_rate"].to_list() == wanted
    for given in (0.4, "0.4"):
        assert study.thresholds(false_match_rate=given)["false_match_rate"].to_list() == [0.4]
    with pytest.raises(UsageError, match=r"`false_match_rate`: could not convert string to float: 'few'; give numbers"):
        study.thresholds(false_match_rate="few")


def test_a_command_that_is_a_method_has_its_name_and_signature(study):
    assert "drift" in dir(study)
    assert study.drift.__func__.__name__ == "drift"
    assert "Names what happened to batches" in study.drift.__doc__


def test_the_method_of_a_table_lists_its_settings(study):
    settings = [field.name for field in dataclasses.fields(Choices)]
    assert [*inspect.signature(study.search).parameters] == ["choices", *settings, "groups"]
    assert [*inspect.signature(study.pairwise).parameters][1:-1] == [field.name for field in dataclasses.fields(Tree)]
    assert [*inspect.signature(study.layers).parameters] == ["groups"]
    assert all(f"{name}: " in study.search.__doc__ for name in settings)


def test_a_question_installed_after_the_run_is_named(study, monkeypatch):
    asked = [question for question in study.reader().questions if question.name != "geometry"]
    assert "geometry" in study.table_names
    monkeypatch.setattr(Reader, "questions", asked)
    words = "no geometry here: made without the question 'geometry'; run it again into a new folder"
    with pytest.raises(UsageError, match=re.escape(words)):
        study.table("geometry")
