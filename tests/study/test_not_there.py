"""What is not finished or not there is refused in one line that names the study."""

import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.store.info import write_content
from embedshift.study.gate import propose
from support.synthetic import make_study


@pytest.mark.slow
def test_a_study_that_is_not_finished_has_no_rules(tmp_path):
    study = make_study(tmp_path / "a", 24, ["blur"])
    write_content(study.folder, study.info() | {"complete": False})
    with pytest.raises(UsageError, match=r"a: not finished; let its run end, or run the same command again first"):
        propose(study.folder, tmp_path / "rules.yaml")
    assert not (tmp_path / "rules.yaml").exists()


def test_a_table_that_is_not_there_says_why(tmp_path):
    study = make_study(tmp_path / "a", 24, ["blur"])
    with pytest.raises(UsageError, match=r"no table 'nonsense' here; it has .*summary"):
        study.table("nonsense")
    (study.folder / "tables" / "summary.parquet").unlink()
    with pytest.raises(UsageError, match=r"not finished, no table 'summary' yet; run the same command again"):
        embedshift.load(study.folder).summary()
