"""Small cases worked by hand."""

from embedshift.statistics import units


def test_scaled():
    assert (
        units.scaled(0.0065, "sigma / side"),
        units.scaled(17.3, "quality"),
        units.scaled(2.96, "degrees"),
        units.scaled(157.2, "degrees"),
    ) == ("0.65", "17", "3.0", "157")


def test_parameter():
    assert (
        units.parameter(0.025, "hidden"),
        units.parameter(80.0, "quality"),
        units.parameter(0.03125, "factor"),
    ) == ("2.5", "80", "0.0312")


def test_axis_label():
    assert (units.axis_label("sigma / side"), units.axis_label("quality")) == ("sigma / side, %", "quality")


def test_in_words():
    assert (
        units.in_words(0.0065, "sigma / side"),
        units.in_words(0.018, "hidden"),
        units.in_words(7.84, "degrees"),
    ) == ("0.65 % of the side", "1.8 % hidden", "7.8 degrees")
    assert (units.in_words(17.3, "quality"), units.in_words(1.6, "g or 1/g"), units.in_words(None, "quality")) == (
        "quality 17",
        "1.6 or 1/1.6",
        "not reached",
    )


def test_interval_in_words():
    assert (units.interval_in_words(0.005, 0.008, "sigma / side"), units.interval_in_words(12.4, None, "quality")) == (
        "0.50 to 0.80 %",
        "12 or more",
    )
