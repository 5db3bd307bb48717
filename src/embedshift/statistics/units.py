"""Formats strengths for people: two significant figures, percent if the unit is a fraction."""

import math

# Units that are a share, by their endings or beginnings → what stands after "%".
_SHARES = {"/ side": "of the side", "/ range": "of the range"}
# Units that stand after their number, or around it.
_AROUND = {"degrees": "{} degrees", "±": "±{}", "x the paper's maximum": "{} x the paper's maximum"}
NOT_REACHED = "not reached"


def scaled(value: float, unit: str) -> str:
    """Formats a number without unit, with two figures or its whole part; in percent if the unit is a fraction.

    Example:
        >>> scaled(0.0065, "sigma / side"), scaled(17.3, "quality"), scaled(2.96, "degrees"), scaled(157.2, "degrees")
        ('0.65', '17', '3.0', '157')
    """
    number = 100 * value if is_share(unit) else value
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:#.2g}".rstrip(".")


def parameter(value: float, unit: str) -> str:
    """Formats the parameter of a level as it was chosen, without unit; in percent if the unit is a fraction.

    Example:
        >>> parameter(0.025, "share hidden"), parameter(80.0, "quality"), parameter(0.03125, "factor")
        ('2.5', '80', '0.0312')
    """
    return f"{100 * value if is_share(unit) else value:.3g}"


def is_share(unit: str) -> bool:
    """Returns whether the unit is a fraction, which is written in percent."""
    return _share(unit) is not None


def axis_label(unit: str) -> str:
    """Returns the label of an axis whose numbers have no unit.

    Example:
        >>> axis_label("sigma / side"), axis_label("quality")
        ('sigma / side, %', 'quality')
    """
    return f"{unit}, %" if is_share(unit) else unit


def in_words(value: float | None, unit: str) -> str:
    """Formats a strength with its unit.

    Example:
        >>> in_words(0.0065, "sigma / side"), in_words(0.018, "share hidden"), in_words(7.84, "degrees")
        ('0.65 % of the side', '1.8 % hidden', '7.8 degrees')
        >>> in_words(17.3, "quality"), in_words(1.6, "g or 1/g"), in_words(None, "quality")
        ('quality 17', '1.6 or 1/1.6', 'not reached')
    """
    if value is None or math.isnan(value):
        return NOT_REACHED
    number, share = scaled(value, unit), _share(unit)
    if share is not None:
        return f"{number} % {share}".rstrip()
    if " or " in unit:  # "g or 1/g"
        return unit.replace(unit.split()[0], number)
    return _AROUND.get(unit, f"{unit} {{}}").format(number).strip()


def interval_in_words(low: float | None, high: float | None, unit: str) -> str:
    """Formats the interval of a strength without its unit; "" if there is none.

    Example:
        >>> interval_in_words(0.005, 0.008, "sigma / side"), interval_in_words(12.4, None, "quality")
        ('0.50 to 0.80 %', '12 or more')
    """
    if low is None and high is None:
        return ""
    percent = " %" if is_share(unit) else ""
    if low is None or high is None:
        return f"{scaled(high or low or 0.0, unit)}{percent} or {'more' if high is None else 'less'}"
    return f"{scaled(low, unit)} to {scaled(high, unit)}{percent}"


def _share(unit: str) -> str | None:
    """Returns the text after "%"; None if the unit is no fraction."""
    for ending, words in _SHARES.items():
        if unit.endswith(ending):
            return words
    return unit.removeprefix("share").strip() if unit.split()[:1] == ["share"] else None
