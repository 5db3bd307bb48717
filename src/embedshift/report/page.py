"""Combines sections into one HTML file. The templates escape all text from users."""

import functools
import importlib.resources
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from embedshift.registry import questions
from embedshift.report.section import PageInput, Section


@functools.cache
def _environment(packages: tuple[str, ...]) -> jinja2.Environment:
    """Returns the templates of the page, and those of the questions as `<question>/section.html.j2`."""
    own = {package.rpartition(".")[2]: jinja2.PackageLoader(package, "") for package in packages}
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("embedshift.report", "template"), jinja2.PrefixLoader(own)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    # NaN is no JSON: better an error here than a page that does not load.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def fill(template: str, section: Section) -> tuple[Section, Markup]:
    """Returns a section with its HTML."""
    environment = _environment(tuple(question.package for question in questions()))
    return section, Markup(environment.get_template(template).render(**section.content))


def question_sections(page: PageInput) -> list[tuple[Section, Markup]]:
    """Returns the sections of the study's questions."""
    filled: list[tuple[Section, Markup]] = []
    for question in page.reader.questions:
        part = question.part("section")
        section = part.PART.section(page) if part is not None and part.PART.section else None
        if section is not None:
            filled.append(fill(f"{question.name}/section.html.j2", section))
    return filled


def render(sections: Sequence[tuple[Section, Markup]], **content: Any) -> str:
    """Returns the page."""
    ordered = sorted(sections, key=lambda pair: pair[0].place)
    contents = [(section.id, section.title) for section, _ in ordered]
    # Read as a file, because the function that returns it would import all of plotly.
    script = Markup((importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8"))
    template = _environment(()).get_template("page.html.j2")
    return template.render(plotly=script, contents=contents, sections=[html for _, html in ordered], **content)
