"""A question's contribution to the page: sections and charts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedshift.config import Json
from embedshift.figures import FigureInput
from embedshift.registry import Question
from embedshift.report.embedded import EmbeddedFigure
from embedshift.store.info import StudyInfo
from embedshift.store.reader import Reader
from embedshift.store.shards import ShardRecord

Plot = Json


@dataclass(frozen=True)
class PageInput:
    """The input of sections."""

    data: FigureInput
    encoder: str
    figures: Mapping[str, EmbeddedFigure]
    records: Sequence[ShardRecord]
    is_papers: bool = False  # its figures and claims are not the last sections

    @property
    def reader(self) -> Reader:
        """The study."""
        return self.data.reader

    @property
    def info(self) -> StudyInfo:
        """The content of study.json."""
        return self.data.reader.info


@dataclass(frozen=True)
class Section:
    """A part of the page with its own heading."""

    id: str
    title: str
    content: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    is_last: bool = False


@dataclass(frozen=True)
class Chart:
    """An interactive chart: plotly's `data` and `layout`, without the page's colours."""

    id: str
    title: str
    plot: Plot


@dataclass(frozen=True)
class Answer:
    """A question's answer on the first screen of the page."""

    title: str
    content: Mapping[str, Any]
    covers_all_levels: bool = False


@dataclass(frozen=True)
class Part:
    """A question's part of the page; its `section.py` has one named `PART`.

    Args:
        section: Function that returns the section; None if the study has nothing to show.
        charts: Function that yields charts for the section of charts.
        answer: Function that returns the answer on the first screen; None if the study has none.
        terms: Terms of its section → their meaning, for the glossary.
        corrected: Statements of its section → what they are corrected for, if several are made at once.
    """

    section: Callable[[PageInput], Section | None] | None = None
    charts: Callable[[PageInput], Iterator[Chart]] | None = None
    answer: Callable[[PageInput], Answer | None] | None = None
    terms: Mapping[str, str] = field(default_factory=dict)
    corrected: Mapping[str, str] = field(default_factory=dict)


def parts_of_page(questions: Sequence[Question]) -> Iterator[tuple[Question, Part]]:
    """Yields the questions that have a part of the page, each with its part."""
    for question in questions:
        module = question.part("section")
        if module is not None:
            yield question, module.PART
