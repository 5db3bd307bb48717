"""Combines sections into one HTML file. The templates escape all text from users."""

import base64
import functools
import gzip
import importlib.resources
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from embedshift.registry import questions
from embedshift.report import numbers
from embedshift.report.section import PageInput, Section, parts_of_page
from embedshift.statistics.intervals import APPROXIMATE_BELOW, LEAST_IMAGES


@functools.cache
def _environment(packages: tuple[str, ...]) -> jinja2.Environment:
    question_templates = {package.rpartition(".")[2]: jinja2.PackageLoader(package, "") for package in packages}
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("embedshift.report", "template"), jinja2.PrefixLoader(question_templates)]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"thousands": lambda number: f"{number:,}", "count": numbers.count, "fixed": numbers.fixed}
    environment.globals |= {"least_images": LEAST_IMAGES, "approximate_below": APPROXIMATE_BELOW}
    forms = numbers.at_places, numbers.in_column, numbers.in_percent, numbers.with_interval
    environment.globals |= {form.__name__: form for form in forms}
    # NaN is no JSON: better an error here than a page that does not load.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def templates() -> jinja2.Environment:
    return _environment(tuple(question.package for question in questions()))


def fill(template: str, content: Mapping[str, Any]) -> Markup:
    return Markup(templates().get_template(template).render(**content))


@dataclass(frozen=True)
class PlacedSection:
    order: int
    section: Section
    html: Markup


def question_sections(page: PageInput) -> list[PlacedSection]:
    placed: list[PlacedSection] = []
    for question, part in parts_of_page(page.reader.questions):
        section = part.section(page) if part.section else None
        if section is not None:
            html = fill(f"{question.name}/section.html.j2", section.content)
            placed.append(PlacedSection(question.order, section, html))
    return placed


def has_charts() -> bool:
    """Returns whether interactive charts can be part of a page: they need the extra `charts`."""
    return importlib.util.find_spec("plotly") is not None


@functools.cache
def _plotly() -> str:
    # Read as a file, because the function that returns it would import all of plotly.
    script = (importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(script, 6, mtime=0)).decode()


def render(sections: Sequence[PlacedSection], **content: Any) -> str:
    ordered = sorted(sections, key=lambda placed: (placed.section.is_last, placed.order))
    contents = [(placed.section.id, placed.section.title) for placed in ordered]
    template, plotly = templates().get_template("page.html.j2"), _plotly() if has_charts() else ""
    return template.render(plotly=plotly, contents=contents, sections=[placed.html for placed in ordered], **content)
