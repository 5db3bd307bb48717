"""The report's section on indexes: which one a store may keep."""

from embedshift.config import Json
from embedshift.questions.index.verdicts import HEADINGS, IndexAnswer, answer_of, grid
from embedshift.report.section import Answer, PageInput, Part, Section


def section(page: PageInput) -> Section | None:
    table = page.reader.table("index")
    if table is None:
        return None
    found = answer_of(page.reader, table)
    rows = grid(found).rows if found.verdicts else []
    more = {"headings": HEADINGS, "rows": rows, "figure": page.figures.get("index")}
    return Section("index", "Index", {"index": _content(found) | more})


def answer(page: PageInput) -> Answer | None:
    table = page.reader.table("index")
    if table is None:
        return None
    content = _content(answer_of(page.reader, table))
    return Answer("Which index may a store keep?", {"index": content}, covers_all_levels=True)


def _content(found: IndexAnswer) -> Json:
    first, *others = found.sentences()
    return {"first": first, "others": others, "margin": found.margin_in_words}


TERMS = {"index": "What a store keeps of the vectors and how it is searched: a map, a code, normalised scores."}
CORRECTED = {"Which index is recommended": "At 95 %, one-sided, under every change, divided by the number of indexes."}
PART = Part(section, answer=answer, terms=TERMS, corrected=CORRECTED)
