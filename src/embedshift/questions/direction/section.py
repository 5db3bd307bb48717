"""The report's section on directions."""

from embedshift.config import Json
from embedshift.report.numbers import fixed, in_percent, with_interval
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.summary import COSINE, FAR


def section(page: PageInput) -> Section | None:
    table = page.data.table("shifts")
    if table is None:
        return None
    cosine = page.data.summary.filter(metric=COSINE).drop("images")
    rows = [row_of(row) for row in table.join(cosine, on="augmentation", maintain_order="left").iter_rows(named=True)]
    content = {
        "rows": rows,
        "far": FAR,
        "has_far": any(row["relative_to_others"] for row in rows),
        "several": len(rows) > 1,
        "images": page.data.images,
        "figure": page.figures.get("directions"),
    }
    return Section("direction", "Direction", {"direction": content})


def row_of(row: Json) -> Json:
    """Formats a row of the table `shifts`; `relative_to_others` only where the relative shift is above `FAR`."""
    numbers: Json = {
        name: fixed(row[name], 2) for name in ("resultant", "resultant_by_chance", "split_half", "relative_to_others")
    }
    numbers["offset"] = in_percent(row.get("common_offset"))[0]
    numbers["centred"] = with_interval(*(row.get(f"centred_shift{end}") for end in ("", "_low", "_high")))
    far = row["relative_to_others"] is not None and row["relative_to_others"] > FAR
    return {"augmentation": row["augmentation"], **numbers} | ({} if far else {"relative_to_others": ""})


TERMS = {
    "shift": "How far an embedding moves from original to view. Shift vector: the view's embedding minus that of its "
    "original, both normalised to length 1.",
    "resultant length": "Length of the mean shift divided by the mean length of shifts: 1 = the same direction for all "
    "images.",
    "centred relative shift": "The relative shift after the originals' mean is subtracted from all embeddings.",
    "common offset": "The fraction of the mean squared shift that all images have in common.",
    "distance relative to others": "Mean distance from a view's own original divided by that from the other originals.",
}

PART = Part(section, terms=TERMS)
