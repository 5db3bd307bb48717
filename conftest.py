"""A study for the examples of docstrings that take one: `study`, of three images."""

import sys
from pathlib import Path

import pytest

# Where only `src` is asked for, nobody else has put `tests/` on the path.
sys.path.append(str(Path(__file__).parent / "tests"))


@pytest.fixture(scope="session")
def study_of_examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Path]:
    """A study of three images, and the folder of state that knows where they lie."""
    from support.synthetic import make_study

    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        return make_study(tmp_path_factory.mktemp("examples") / "study", images=3, with_pictures=True), state


@pytest.fixture(autouse=True)
def examples(
    request: pytest.FixtureRequest, doctest_namespace: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gives the study to the docstrings of the exports alone, since it takes a second to make."""
    if request.node.name.startswith("embedshift.study.exports.Exports"):
        study, state = request.getfixturevalue("study_of_examples")
        monkeypatch.setenv("XDG_STATE_HOME", str(state))
        doctest_namespace["study"] = study
