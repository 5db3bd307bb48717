"""Small cases worked by hand."""

from embedshift.statistics import families


def test_measured_family_levels_at():
    family = families.MeasuredFamily("jpeg", "quality", 100, (80, 50), ("jpeg@1", "jpeg@2"))
    assert family.levels_at([100.0, 90.0, 65.0]).tolist() == [0.0, 0.5, 1.5]


def test_measured_family_nearest():
    family = families.MeasuredFamily("jpeg", "quality", 100, (80, 50, 10), ("jpeg@1", "jpeg@2", "jpeg@3"))
    assert (family.nearest(60), family.nearest(99), family.nearest(None)) == ("jpeg@2", "jpeg@1", "jpeg@3")
