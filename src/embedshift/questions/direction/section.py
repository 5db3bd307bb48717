"""The report's section on directions."""

from embedshift.config import Json
from embedshift.report.numbers import fixed
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.summary import FAR


def section(page: PageInput) -> Section | None:
    """Returns the section; None if the study has no sums."""
    table = page.data.table("shifts")
    if table is None:
        return None
    rows = [row_of(row) for row in table.iter_rows(named=True)]
    content = {
        "rows": rows,
        "far": FAR,
        "has_far": any(row["relative_to_others"] for row in rows),
        "several": len(rows) > 1,
        "images": page.data.images,
        "figure": page.figures.get("directions"),
    }
    return Section("direction", "Direction", 45, {"direction": content})


def row_of(row: Json) -> Json:
    """Formats a row of the table `shifts`; the distance relative to others is empty unless the relative shift is above `FAR`."""
    numbers = {
        name: fixed(row[name], 2) for name in ("resultant", "resultant_by_chance", "split_half", "relative_to_others")
    }
    far = row["relative_to_others"] is not None and row["relative_to_others"] > FAR
    return {"augmentation": row["augmentation"], **numbers} | ({} if far else {"relative_to_others": ""})


TERMS = {
    "shift": "How far an embedding moves from original to view. Shift vector: the view's embedding minus that of its "
    "original, both normalised to length 1.",
    "resultant length": "Length of the mean shift divided by the mean length of shifts: 1 = the same direction for all "
    "images.",
    "distance relative to others": "Mean distance from a view's own original divided by that from the originals of other images.",
}

PART = Part(section, terms=TERMS)
