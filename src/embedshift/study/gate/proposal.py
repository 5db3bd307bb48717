"""Proposes first rules: bounds that a study keeps, and margins that its number of images can decide."""

import json
import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from textwrap import fill, indent

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.paired_proportions import difference_of_relative_shifts
from embedshift.statistics.summary import COSINE
from embedshift.study.gate.decision import Ends, Estimate, images_needed
from embedshift.study.gate.estimates import mover
from embedshift.study.gate.tables import estimate, images_of, strengths
from embedshift.study.study import Study, load

# Margins are multiples of this, and a relative shift's is never below the second.
STEP, LEAST_FRACTION = 0.005, 0.02
# A tolerance's margin is never below this part of the way from no change to the strongest level.
LEAST_TOLERANCE = 0.05
# Margins above these are called wide: of a recall or a relative shift, and of a tolerance as part of the same way.
WIDE, WIDE_TOLERANCE = 0.05, 0.2
_ROOT = "if intervals shrink with the root of the number of images"

_HEAD = """\
# Rules for `embedshift check`, written from {study}: {encoder}, {images} images.
# Adapt the bounds to the needs of your product.
#
# at_least, at_most: bounds on the numbers of the checked study.
# may_fall, may_rise: the largest change against a reference study of the same images and views.
# A rule is kept if the whole 95 % interval satisfies it, broken if the whole interval violates it, and otherwise
# undecided. Without a filter (augmentation, metric, family), the rule applies to every row.

rules:
"""


def propose(study: Study | str | Path, file: str | Path = "rules.yaml") -> Path:
    """Writes a commented file of rules that the study keeps."""
    own, path = study if isinstance(study, Study) else load(study), Path(file)
    if not own.is_complete():
        raise UsageError(f"{own.folder}: not finished; run the same command again first")
    info = own.reader().info
    if info.counts.measured < LEAST_IMAGES:
        raise UsageError(
            f"{own.folder}: {info.counts.measured} images are too few for intervals; measure {LEAST_IMAGES} or more"
        )
    naming = own.reader().naming
    encoder = _line(naming.setting(info.encoder.name))
    text = _HEAD.format(study=_line(own.folder.name), encoder=encoder, images=info.counts.measured)
    parts = [part for part in (*_of_search(own), *_of_shares(own), *_of_tolerances(own)) if part[1]]
    if not parts:
        raise UsageError(f"{own.folder}: no relative shift, search or tolerance here to take a bound from")
    for comment, rules in parts:
        text += indent(fill(comment, 110), "  # ") + "\n" + "".join(map(_written, rules)) + "\n"
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(text.rstrip() + "\n")
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already; name another file with `rules`, or delete it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _line(text: str) -> str:
    """Makes a name safe for a comment line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _written(rule: Json) -> str:
    """Formats a rule as YAML with JSON strings."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in rule.items()]
    return "".join(f"  {'  ' if place else '- '}{line}\n" for place, line in enumerate(lines))


# A comment, and the rules under it.
Part = tuple[str, list[Json]]


def _of_search(study: Study) -> Iterator[Part]:
    if "search" not in study.table_names:
        return
    recall = study.search().filter(pl.col("metric") == "recall@1")
    if recall.is_empty():
        return
    bounds = [(row["augmentation"], rounded(row["ci_low"], "0.01", up=False)) for row in _known(recall, "ci_low")]
    chosen = {"table": "search", "metric": "recall@1"}
    if not study.reader().families:
        yield (
            "recall@1: the fraction of views whose original ranks first. Bounds: lower ends of this study's intervals.",
            [{**chosen, "augmentation": name, "at_least": bound} for name, bound in bounds if bound > 0],
        )
    images = min(images_of(study, row) for row in recall.iter_rows(named=True))
    if images < LEAST_IMAGES:
        return
    margin = rounded(_one_lost(images)[1], str(STEP), up=True)
    yield (
        f"recall@1 may fall by at most {margin:g} under any augmentation. {images} images can decide this "
        f"if one image is lost and at most one is gained.{_wide(margin, images, at=_one_lost)}",
        [{**chosen, "may_fall": margin}],
    )


def _one_lost(images: int) -> tuple[float, float]:
    """Returns how far recall may have fallen if one image is lost and at most one is gained, as two signed ends."""
    fall = -min(difference_of_relative_shifts(gained, 1, images)[0] for gained in (0, 1))
    return -fall, fall


def _wide(margin: float, images: int, at: Ends | None = None) -> str:
    """Returns a sentence on a wide margin that gives the images for a margin of `WIDE`; "" if it is not wide."""
    if margin <= WIDE:
        return ""
    needed = images_needed(Estimate(0.0, -margin, margin, images, at), -WIDE)
    return f" The margin is wide: about {needed:,} images allow {WIDE:g}{'' if at else f', {_ROOT}'}."


def _of_shares(study: Study) -> Iterator[Part]:
    table = study.summary().filter(pl.col("metric") == COSINE)
    rows = _known(table, "relative_shift_high")
    if not rows:
        return
    chosen = {"table": "summary", "metric": COSINE, "column": "relative_shift"}
    if not study.reader().families:
        yield (
            "relative shift: how far the embedding moves; 0 = unchanged, 1 = as far as another image. "
            "Bounds: upper ends of this study's intervals.",
            [
                {
                    **chosen,
                    "augmentation": row["augmentation"],
                    "at_most": rounded(row["relative_shift_high"], "0.01", up=True),
                }
                for row in rows
            ],
        )
    widest = max(
        max(row["relative_shift"] - row["relative_shift_low"], row["relative_shift_high"] - row["relative_shift"])
        for row in rows
    )
    margin = max(LEAST_FRACTION, rounded(widest, str(STEP), up=True))
    yield (
        f"The relative shift may rise by at most {margin:g} under any augmentation: the width of the widest interval here, at "
        f"least {LEAST_FRACTION:g}. Similar checkpoints, paired by image, have narrower intervals."
        f"{_wide(margin, study.reader().info.counts.measured)}",
        [{**chosen, "may_rise": margin}],
    )


def _of_tolerances(study: Study) -> Iterator[Part]:
    if "tolerance" not in study.table_names:
        return
    kept: list[Json] = []
    margins: list[Json] = []
    wide: list[tuple[str, int | None]] = []
    for row in study.tolerance().iter_rows(named=True):
        found = estimate(study, "tolerance", "value", row)
        known = strengths(study, row["family"], row["criterion"])
        chosen = {"table": "tolerance", **{key: row[key] for key in ("family", "criterion", "unit")}}
        weak = found.low if known.rises else found.high
        if not math.isfinite(weak):
            continue
        kept.append({**chosen, "at_least" if known.rises else "at_most": two_figures(weak, up=not known.rises)})
        ends = (found.low, found.value, found.high)
        low, value, high = (each if math.isfinite(each) else known.strongest for each in ends)
        margin = max(mover([value, low, high], [value, low, high], 1).high, LEAST_TOLERANCE * known.way)
        margins.append({**chosen, "may_fall" if known.rises else "may_rise": two_figures(margin, up=True)})
        if margin > (limit := WIDE_TOLERANCE * known.way):
            root = Estimate(0.0, -margin, margin, known.images)
            wide.append((row["family"], images_needed(root, -limit) if all(map(math.isfinite, ends)) else None))
    yield (
        "tolerance: the strength at which the mean relative shift reaches 0.1, or a search misses 5 % of the views. "
        "Bounds: weak ends of this study's intervals. "
        "For units that fall as the change gets stronger, such as quality, lower is better.",
        kept,
    )
    yield f"Margins: differences that this study could not distinguish from no difference.{_wide_ones(wide)}", margins


def _wide_ones(wide: Sequence[tuple[str, int | None]]) -> str:
    """Returns sentences on wide margins of tolerances; "" for none."""
    if not wide:
        return ""
    names, needed = zip(*wide, strict=True)
    most = None if None in needed else max(needed)
    more = "More images narrow them." if most is None else f"About {most:,} images narrow them, {_ROOT}."
    words = f"Wide margins, above {100 * WIDE_TOLERANCE:g} % of the way from no change to the strongest level"
    return f" {words}: {_line(', '.join(dict.fromkeys(names)))}. {more}"


def _known(table: pl.DataFrame, column: str) -> list[Json]:
    return table.filter(pl.col(column).is_not_null()).to_dicts()


def rounded(value: float, step: str, *, up: bool) -> float:
    """Rounds a number up or down to a multiple of a decimal step."""
    steps = (Decimal(repr(float(value))) / Decimal(step)).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return float(steps * Decimal(step))


def two_figures(value: float, *, up: bool) -> float:
    """Rounds a number up or down to two significant figures."""
    if value == 0:
        return 0.0
    return rounded(value, str(Decimal(1).scaleb(math.floor(math.log10(abs(value))) - 1)), up=up)
