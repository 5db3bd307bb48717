"""The paragraphs of a filled template as plain texts."""

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from markupsafe import Markup

from embedshift.report.page import fill, templates


def paragraphs(template: str, content: Mapping[str, Any]) -> list[str]:
    """The text of each paragraph that a template makes of this content."""
    return [Markup(text).striptags() for text in re.findall(r"<p[^>]*>(.*?)</p>", fill(template, content), re.DOTALL)]


def sentence(template: str, macro: str, *arguments: Any) -> str:
    """The text of a template's macro."""
    made: Markup = getattr(templates().get_template(template).module, macro)(*arguments)
    return made.striptags()


def ends_outward(low: float, high: float, places: int) -> str:
    """The ends of an interval with some decimals, the lower one rounded down and the upper one up."""
    rounded = zip((low, high), (ROUND_FLOOR, ROUND_CEILING), strict=True)
    return " to ".join(str(Decimal(repr(end)).quantize(Decimal(1).scaleb(-places), way)) for end, way in rounded)
