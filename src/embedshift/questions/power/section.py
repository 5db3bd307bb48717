"""The report's section on power, where it was asked."""

from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.power import PLANNED, planned


def section(page: PageInput) -> Section | None:
    table = page.data.table("power")
    if table is None:
        return None
    content = {
        "headings": PLANNED,
        "rows": [*planned(table)],
        "percent": 100 * table["power"][0],
        "pilot": page.data.group_count,
        "unit": page.data.group_word,
        "figure": page.figures.get("power"),
    }
    return Section("power", "How many images", {"power": content})


TERMS = {
    "power": "The probability that a comparison finds a difference of a given size.",
    "equivalent": "The difference is smaller than a margin that a user chose, by two one-sided tests at 5 %.",
}

CORRECTED = {
    "Whether encoders are equivalent, over all augmentations": "Not corrected: one test for each margin and study."
}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
