from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.summary import COSINE, FAR


def section(page: PageInput) -> Section | None:
    table = page.data.table("shifts")
    if table is None:
        return None
    cosine = page.data.summary.filter(metric=COSINE).drop("images")
    rows = table.join(cosine, on="augmentation", maintain_order="left").to_dicts()
    content = {
        "rows": rows,
        "far": FAR,
        "has_far": any((row["relative_to_others"] or 0.0) > FAR for row in rows),
        "several": len(rows) > 1,
        "images": page.data.images,
        "figure": page.figures.get("directions"),
    }
    return Section("direction", "Direction", {"direction": content})


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
