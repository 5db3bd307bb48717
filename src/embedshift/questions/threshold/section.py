"""The report's section on the threshold, where it was asked."""

from embedshift.config import Json
from embedshift.questions.threshold import SENTENCE
from embedshift.questions.threshold.result import HEADINGS, grid, sentences
from embedshift.questions.threshold.tables import CURVE
from embedshift.report.section import Answer, PageInput, Part, Section


def section(page: PageInput) -> Section | None:
    content = _content(page)
    if content is None:
        return None
    more = {"headings": HEADINGS, "rows": grid(page.reader.need("threshold")).rows}
    return Section("threshold", "Threshold", {"threshold": content | more | {"figure": page.figures.get("threshold")}})


def answer(page: PageInput) -> Answer | None:
    content = _content(page)
    return None if content is None else Answer(SENTENCE, {"threshold": content}, covers_all_levels=True)


def _content(page: PageInput) -> Json | None:
    table, curve = page.reader.table("threshold"), page.reader.table(CURVE)
    if table is None or curve is None or table.is_empty():
        return None
    first, *others = sentences(table, curve)
    return {"first": first, "others": others}


TERMS = {"calibration query": "A view whose original is not in the gallery, so that every match of it is false."}
CORRECTED = {"The threshold of each change": "Not corrected; the worst of them holds under each."}
PART = Part(section, answer=answer, terms=TERMS, corrected=CORRECTED)
