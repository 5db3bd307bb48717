import math

from embedshift.config import Json
from embedshift.report.numbers import in_percent
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.summary import COSINE


def section(page: PageInput) -> Section | None:
    """Returns the section; None for one draw, and where no cosine varies."""
    table, draws = page.data.table("variance"), page.info.draws
    images = None if table is None else table.filter(metric=COSINE, source="image").drop_nulls("fraction")
    if images is None or images.is_empty():
        return None
    rows = [row_of(row, draws) for row in page.data.summary.join(images, on=("augmentation", "metric")).to_dicts()]
    most = max(rows, key=lambda row: row["needed"])
    return Section("variance", "Images and draws", {"variance": {"rows": rows, "draws": draws, "most": most}})


def row_of(row: Json, draws: int) -> Json:
    """Returns a split, and for an interval of ± 10 % of the mean distance the images: 1 draw, `draws`, any number."""
    images, fraction = (1.96 * row["sd"] / (0.1 * (1 - row["mean"]))) ** 2, row["fraction"]
    needed = [math.ceil(images * (fraction + (1 - fraction) / count)) for count in (1, draws, math.inf)]
    split = in_percent(fraction, row["low"], row["high"])
    return {"augmentation": row["augmentation"], "split": split, "needed": needed}


PART = Part(section)
