"""Tolerances of several studies side by side."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from matplotlib.collections import PathCollection

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.strengths import missed_tolerances
from support import studies
from support.command import call
from support.comparing import OTHER, A, C, variant
from support.graded import CLOSER, DARKER, MADE, graded
from support.synthetic import make_study

pytestmark = pytest.mark.slow

ENDS = ("value", "low", "high")


def further(rows):
    """Another encoder, which moves half as far again."""
    return rows.with_columns(cosine_similarity=1 - 1.5 * (1 - pl.col("cosine_similarity")))


@pytest.fixture(scope="module")
def first():
    return studies.families()


@pytest.fixture(scope="module")
def second(first, tmp_path_factory):
    return variant(first, tmp_path_factory.mktemp("compare") / "b", further, **OTHER)


def by_relative_shift(table):
    return table.filter(criterion="relative shift 0.1")


def columns(name):
    return [name, f"{name} low", f"{name} high"]


@pytest.mark.matrix
def test_over_the_same_images_they_are_those_of_the_studies(first, second):
    table = embedshift.compare([first, second]).tolerances
    assert table.columns == ["family", "unit", "criterion", *columns(A), *columns(C)]
    assert table["family"].to_list() == ["darker", "closer"] * 2
    assert table["criterion"].to_list() == ["relative shift 0.1"] * 2 + ["missed 5 %"] * 2
    for study, name in ((first, A), (second, C)):
        np.testing.assert_allclose(table.select(columns(name)), study.tolerance().select(ENDS), rtol=1e-9)
    assert table[C][0] < table[A][0], "stops: it gives way earlier"
    assert table[C][1] > table[A][1], "a fraction that is kept: it gives way earlier"


def test_they_are_over_the_images_that_all_measured(first, tmp_path):
    lost = ("image-00003.png", "image-00009.png", "image-00020.png")
    part = variant(first, tmp_path / "part", failed=lost, shard_size=64)
    other = variant(first, tmp_path / "other", further, failed=lost, shard_size=64, **OTHER)
    table = embedshift.compare([first, other]).tolerances
    relative_shifts = by_relative_shift(table)
    np.testing.assert_allclose(
        relative_shifts.select(columns(A)), by_relative_shift(part.tolerance()).select(ENDS), rtol=1e-9
    )
    np.testing.assert_allclose(
        relative_shifts.select(columns(C)), by_relative_shift(other.tolerance()).select(ENDS), rtol=1e-9
    )
    assert table[A][0] != first.tolerance()["value"][0]
    ranks = first.search_ranks().filter(~pl.col("image_id").is_in(lost))
    wanted = missed_tolerances(first.reader().families, ranks, 1)
    np.testing.assert_allclose(table.filter(criterion="missed 5 %").select(columns(A)), wanted.select(ENDS), rtol=1e-9)


@pytest.mark.matrix
def test_they_are_written_drawn_and_printed(first, second, tmp_path, monkeypatch, capsys):
    found = embedshift.compare([first, second], out=tmp_path / "out")
    assert pl.read_csv(tmp_path / "out" / "tolerances.csv").columns == found.tolerances.columns
    assert (tmp_path / "out" / "figures" / "compare_tolerances.png").is_file()
    axes = found.figure("tolerances").axes[0]
    at = [float(part.get_offsets()[0][0]) for part in axes.collections if isinstance(part, PathCollection)]
    families = {family.name: family for family in found.families}
    wanted = [
        float(families[row["family"]].levels_at(row[name]))
        for name in (A, C)
        for row in by_relative_shift(found.tolerances).iter_rows(named=True)
    ]
    assert at == pytest.approx(wanted)
    printed = call(monkeypatch, capsys, "compare", first.folder, second.folder).out
    assert "closer" in printed
    assert "% of the side kept" in printed


@pytest.mark.matrix
def test_other_studies_have_none(tmp_path):
    found = embedshift.compare(studies.compared()[::2], out=tmp_path / "out")
    assert found.tolerances.is_empty()
    assert not (tmp_path / "out" / "tolerances.csv").exists()
    assert "tolerances" not in found.to_dicts()
    with pytest.raises(UsageError, match="are not families"):
        found.figure("tolerances")


@pytest.mark.matrix
def test_of_many_views_figures_show_one_level_of_each_family(tmp_path):
    many = [*MADE, *(replace(DARKER, name=name) for name in ("darker_a", "darker_b")), replace(CLOSER, name="closer_a")]
    first = make_study(tmp_path / "a", 10, graded(*many))
    found = embedshift.compare([first, variant(first, tmp_path / "b", further, **OTHER)])
    assert [name.split("@")[0] for name in found.shown] == [family.name for family in many]
    rows = [label.get_text() for axes in found.figure("differences").axes for label in axes.get_yticklabels()]
    assert [row for row in rows if row] == [name.replace("_", " ") for name in found.shown]
    assert found.side_by_side["augmentation"].n_unique() == 26
