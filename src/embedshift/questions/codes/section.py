"""The report's section on codes: what a store may keep, in sentences and a table."""

from embedshift.config import Json
from embedshift.questions.codes.coded import HEADINGS, cells, margin_of, recommended, summary, verdicts
from embedshift.report.section import Answer, PageInput, Part, Section


def section(page: PageInput) -> Section | None:
    table = page.reader.table("codes")
    if table is None:
        return None
    content = _content(page)
    rows = [cells(verdict) for verdict in verdicts(table)]
    figure = page.figures.get("codes")
    return Section("codes", "Codes", {"codes": content | {"headings": HEADINGS, "rows": rows, "figure": figure}})


def _content(page: PageInput) -> Json:
    table, margin = page.reader.need("codes"), margin_of(page.reader.kept_settings("codes"))
    found = verdicts(table)
    first, *others = [*summary(found, page.reader, margin)] or ["Nothing was tried: it takes four images, or groups."]
    return {"first": first, "others": others, "percent": 100 * margin, "best": recommended(found)}


def answer(page: PageInput) -> Answer | None:
    table = page.reader.table("codes")
    return (
        None if table is None else Answer("What may a store keep?", {"codes": _content(page)}, covers_all_levels=True)
    )


TERMS = {
    "code": "What a store keeps of a vector, in fewer bytes: rounded, signs, or fewer numbers.",
    "lead": "The score of a view with its original minus that with the best other, in units of the code's own error.",
    "outside": "The fraction of numbers of changed images beyond the range that a code was fitted to. They saturate.",
}
CORRECTED = {"Losses of codes": "Each change at 95 %, one-sided; a code is recommended only if it is within under all."}
PART = Part(section, answer=answer, terms=TERMS, corrected=CORRECTED)
