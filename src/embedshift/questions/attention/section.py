"""What the encoder looks at: the sentences of the section on attention, from the summary alone."""

from collections.abc import Iterator, Sequence

import polars as pl

from embedshift.config import Json
from embedshift.questions.attention.figures import ALIGNED, PLAIN, metrics_of
from embedshift.report.facts import ATTENTION
from embedshift.report.numbers import decimals, fixed
from embedshift.report.section import PageInput, Part, Section

Row = Json

ROLLOUT, DIVERGENCE, RISE = "rollout_similarity", "attention_divergence", "attention_entropy_rise"


def section(page: PageInput) -> Section | None:
    """What becomes of attention; nothing where there is only the paper's metric of it."""
    metrics = metrics_of(page.data)
    if not metrics:
        return None
    kind = ATTENTION.get(page.info.encoder.attention_kind or "", "the mean over heads")
    content = looks(page.data.summary, metrics) | {"kind": kind, "figure": page.figures.get("attention_change")}
    return Section("looks", "What it looks at", 50, {"looks": content})


def looks(summary: pl.DataFrame, metrics: Sequence[str]) -> Json:
    """What the section shows beside its figure.

    Args:
        summary: As `Study.summary`.
        metrics: Those of attention that the study has.

    Returns:
        `has`, the metrics; `sentences`, what they say of this encoder, as plain text.

    Example:
        >>> table = pl.DataFrame({"augmentation": ["flip"] * 2, "metric": [PLAIN, ALIGNED], "n": [9, 9],
        ...     "mean": [0.9, 0.98], "ci_low": [0.89, 0.97], "ci_high": [0.91, 0.99]})
        >>> looks(table, [PLAIN, ALIGNED])["sentences"][0]
        "Part of the change is only the picture's own motion under flip (0.900, aligned 0.980 [0.970 to 0.990])."
    """
    found = {
        metric: {row["augmentation"]: row for row in summary.filter(metric=metric).iter_rows(named=True)}
        for metric in metrics
    }
    sentences: list[str] = []
    if ALIGNED in found:
        sentences += _moved(found[PLAIN], found[ALIGNED])
    if RISE in found:
        sentences += _spread([*found[RISE].values()])
    if DIVERGENCE in found:
        sentences += _ends(
            [*found[DIVERGENCE].values()], "As shares of a whole, maps differ", reverse=True, unit=" bits"
        )
    if ROLLOUT in found:
        sentences += _ends(
            [*found[ROLLOUT].values()], "Rolled out through all layers, attention changes", reverse=False
        )
    return {"has": [*found], "sentences": sentences}


def _moved(plain: dict[str, Row], aligned: dict[str, Row]) -> Iterator[str]:
    """Which augmentations look worse only because the picture moved."""
    known = {name: row for name, row in aligned.items() if row["mean"] is not None and plain[name]["mean"] is not None}
    moving = {name: row for name, row in known.items() if abs(row["mean"] - plain[name]["mean"]) > 1e-9}
    along = [name for name, row in moving.items() if row["ci_low"] > plain[name]["ci_high"]]
    lower = [name for name, row in moving.items() if row["ci_high"] < plain[name]["ci_low"]]
    both = {
        name: f"{name} ({fixed(plain[name]['mean'], _places(row))}, aligned {_value(row)})"
        for name, row in moving.items()
    }
    if along:
        yield f"Part of the change is only the picture's own motion under {_listed([both[name] for name in along])}."
    if lower:
        yield f"Attention stays in its place rather than moves along under {_listed([both[name] for name in lower])}."
    if rest := [both[name] for name in moving if name not in (*along, *lower)]:
        words = "Whether part of the change is the picture's own motion is not settled under"
        yield f"{words} {_listed(rest)}: the two intervals overlap."
    if not moving and known:
        yield "No augmentation of this study moves the picture, so alignment changes nothing."
    if unknown := [name for name in aligned if name not in known]:
        yield f"Nothing can be aligned under {_listed(unknown)}."


def _spread(rows: Sequence[Row]) -> Iterator[str]:
    """Where attention spreads, gathers, or neither is settled."""
    rows = [row for row in rows if row["mean"] is not None and row["n"] > 1]
    parts = {
        "spreads": [row for row in rows if row["ci_low"] > 0],
        "gathers": [row for row in rows if row["ci_high"] < 0],
    }
    each = {word: [f"{row['augmentation']} ({_value(row)} nats)" for row in chosen] for word, chosen in parts.items()}
    said = [f"{word} under {_listed(chosen)}" for word, chosen in each.items() if chosen]
    if said:
        yield f"Attention {' and '.join(said)}."
    if rest := [row["augmentation"] for row in rows if row["ci_low"] <= 0 <= row["ci_high"]]:
        yield f"Whether it spreads or gathers is not settled under {_listed(rest)}."


def _ends(rows: Sequence[Row], words: str, *, reverse: bool, unit: str = "") -> Iterator[str]:
    """The augmentations that change most and least."""
    order = sorted((row for row in rows if row["mean"] is not None), key=lambda row: row["mean"], reverse=reverse)
    if order:
        least = f", least under {order[-1]['augmentation']} ({_value(order[-1])}{unit})" if len(order) > 1 else ""
        yield f"{words} most under {order[0]['augmentation']} ({_value(order[0])}{unit}){least}."


def _value(row: Row) -> str:
    low, high, places = row["ci_low"], row["ci_high"], _places(row)
    if row["n"] < 2:
        return fixed(row["mean"], places)
    return f"{fixed(row['mean'], places)} [{fixed(low, places)} to {fixed(high, places)}]"


def _places(row: Row) -> int:
    """Decimals of a mean and its interval: one that does not hold 0 must not seem to end there."""
    low, high = row["ci_low"], row["ci_high"]
    if row["n"] < 2:
        return 3
    places = max(2, min(4, decimals(low, high)))
    return 4 if low * high > 0 and round(min(abs(low), abs(high)), places) == 0 else places


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


PART = Part(section)
