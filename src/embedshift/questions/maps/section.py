import polars as pl

from embedshift.config import Json
from embedshift.questions.maps import RANDOM, SCORES
from embedshift.questions.maps.figures import WORDS, shown_metric
from embedshift.report.numbers import MISSING, count, fixed, with_interval
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.intervals import LEAST_IMAGES

TARGETS = {"image": "the embedding of the original", "caption": "the caption of the image"}


def section(page: PageInput) -> Section | None:
    table, trust = page.data.table("maps"), page.data.table("map_trust")
    if table is None or trust is None:
        return None
    settings = page.reader.identity_of("maps")
    images = trust["n"].max()
    content: Json = {
        "images": count(images if isinstance(images, int) else 0, "image"),
        "target": TARGETS.get(settings["target"], ""),
        "words": settings["target"],
        "has": table["map"].unique().to_list(),
        "steps": settings["steps"],
        "rows": trust_rows(trust),
        "trusted": most_reliable(trust),
        "is_aligned": shown_metric(table) != "correlation",
        "ends": largest_and_smallest_changes(table),
        "overlays": page.figures.get("maps"),
        "moved": page.figures.get("maps_moved"),
    }
    return Section("maps", "Relevance maps", {"maps": content})


def trust_rows(trust: pl.DataFrame) -> list[Json]:
    formatted: list[Json] = []
    for (name,), part in trust.group_by("map", maintain_order=True):
        rows = {row["score"]: row for row in part.iter_rows(named=True)}
        scores = {kind: with_interval(*(row[c] for c in ("mean", "ci_low", "ci_high"))) for kind, row in rows.items()}
        better = [kind for kind in SCORES if rows[kind]["significant"] and rows[kind]["gain"] > 0]
        verdict = "both" if len(better) == 2 else better[0] if better else "neither"
        if name == RANDOM or min(row["n"] for row in rows.values()) < LEAST_IMAGES:
            verdict = MISSING
        formatted.append({"map": WORDS.get(str(name), "random order"), "verdict": verdict, **scores})
    return formatted


def most_reliable(trust: pl.DataFrame) -> Json:
    """Returns the map with the best mean of each score, and whether any is better than random; {} below 8 images."""
    scored = trust.filter(pl.col("map") != RANDOM, pl.col("n") >= LEAST_IMAGES).drop_nulls("mean")
    best = {
        kind: scored.filter(score=kind).sort("mean", descending=kind == "insertion", maintain_order=True)
        for kind in SCORES
    }
    if any(rows.is_empty() for rows in best.values()):
        return {}
    maps = {kind: (WORDS[rows["map"][0]], fixed(rows["mean"][0], 3)) for kind, rows in best.items()}
    return maps | {"is_any": not scored.filter("significant", pl.col("gain") > 0).is_empty()}


def largest_and_smallest_changes(table: pl.DataFrame) -> list[Json]:
    ranges: list[Json] = []
    compared = table.filter(pl.col("metric") == shown_metric(table), pl.col("n") >= LEAST_IMAGES).drop_nulls("mean")
    for (name,), part in compared.group_by("map", maintain_order=True):
        rows = part.sort("mean", maintain_order=True).select("augmentation", "mean").rows()
        if len(rows) > 1:
            ends = [(fixed(mean, 3), augmentation) for augmentation, mean in (rows[0], rows[-1])]
            ranges.append({"map": WORDS[str(name)], "ends": ends})
    return ranges


TERMS = {
    "relevance": "How much a patch adds to the embedding through the attention of all layers, from gradients.",
    "tokens of the last block": "What a patch adds to the embedding by attention of the last block; may be below 0.",
    "deletion": "Mean cosine with the target while patches are blurred, the most relevant first; lower is better.",
    "insertion": "Mean cosine with the target while patches of a blurred image are restored, the most relevant first; "
    "higher is better.",
}
CORRECTED = {"Whether a map is better than a random order": "Corrected over all maps and both scores."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
