"""Small cases worked by hand."""

from embedshift.statistics import strengths
from embedshift.statistics.strengths import in_words, interval_in_words


def test_scaled():
    assert (
        strengths.scaled(0.0065, "sigma / side"),
        strengths.scaled(17.3, "quality"),
        strengths.scaled(2.96, "degrees"),
        strengths.scaled(157.2, "degrees"),
    ) == ("0.65", "17", "3.0", "157")


def test_parameter():
    assert (
        strengths.parameter(0.025, "hidden"),
        strengths.parameter(80.0, "quality"),
        strengths.parameter(0.03125, "factor"),
    ) == ("2.5", "80", "0.0312")


def test_axis_label():
    assert (strengths.axis_label("sigma / side"), strengths.axis_label("quality")) == ("sigma / side, %", "quality")


def test_in_words():
    assert (
        in_words(0.0065, "sigma / side"),
        in_words(0.018, "hidden"),
        in_words(7.84, "degrees"),
    ) == ("0.65 % of the side", "1.8 % hidden", "7.8 degrees")
    assert (
        in_words(17.3, "quality"),
        in_words(1.6, "g or 1/g"),
        in_words(None, "quality"),
    ) == (
        "quality 17",
        "1.6 or 1/1.6",
        "not reached",
    )


def test_interval_in_words():
    assert (
        interval_in_words(0.005, 0.008, "sigma / side"),
        interval_in_words(12.4, None, "quality"),
    ) == (
        "0.50 to 0.80 %",
        "12 or more",
    )


def test_measured_family_levels_at():
    family = strengths.MeasuredFamily("jpeg", "quality", 100, (80, 50), ("jpeg@1", "jpeg@2"))
    assert family.levels_at([100.0, 90.0, 65.0]).tolist() == [0.0, 0.5, 1.5]


def test_measured_family_nearest():
    family = strengths.MeasuredFamily("jpeg", "quality", 100, (80, 50, 10), ("jpeg@1", "jpeg@2", "jpeg@3"))
    assert (family.nearest(60), family.nearest(99), family.nearest(None)) == ("jpeg@2", "jpeg@1", "jpeg@3")
