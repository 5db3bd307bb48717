"""The paragraphs of a filled template as plain texts."""

import re
from collections.abc import Mapping
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
