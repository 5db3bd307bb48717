"""The report's section on chains of changes."""

from embedshift.questions.chains.law import of_direction, sentences
from embedshift.questions.chains.tables import ENDS
from embedshift.report.numbers import MISSING, fixed, significant, with_ends
from embedshift.report.section import PageInput, Part, Section
from embedshift.store.table import Row

HEADINGS = (
    "chain", "relative shift", "parts added up", "ratio", "cosine of directions", "cosine without noise",
    "same direction", "recall@1", "recall@1 predicted", "order effect",
)  # fmt: skip


def section(page: PageInput) -> Section | None:
    table = page.data.table("chains")
    if table is None:
        return None
    first, *others = sentences(table)
    content = {
        "first": first,
        "others": others,
        "headings": HEADINGS,
        "rows": [_cells(row) for row in table.iter_rows(named=True)],
        "figure": page.figures.get("chains"),
    }
    return Section("chains", "Chains", {"chains": content})


def _cells(row: Row) -> list[str]:
    def number(name: str, places: int) -> str:
        value, low, high = (row[f"{name}{end}"] for end in ENDS)
        return with_ends(value, low, high, places)

    order = [row[f"order_effect{end}"] for end in ENDS]
    return [
        row["chain"],
        number("relative_shift", 3),
        fixed(row["predicted"], 3),
        number("ratio", 2),
        f"{fixed(row['cosine'], 2)} of at most {fixed(row['cosine_ceiling'], 2)}",
        number("agreement", 2),
        of_direction(row),
        fixed(row["recall"], 3),
        fixed(row["recall_predicted"], 3),
        MISSING if order[0] is None else significant(*order),
    ]


TERMS = {
    "chain": "Changes that follow one another, such as a messenger and then a screenshot.",
    "parts added up": "The relative shift of originals that are moved by the shifts of all parts of a chain.",
    "cosine without noise": "The cosine of a chain's mean shift with the sum of its parts' mean shifts, divided by the "
    "cosine that equal directions would have with as many images.",
}
CORRECTED = {"Which chains have the direction of the sum": "Not corrected: each interval is made for 95 % by itself."}
PART = Part(section, terms=TERMS, corrected=CORRECTED)
