"""Proposes first rules: bounds that a study keeps, and margins that its number of images can decide."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from textwrap import fill, indent

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.paired_proportions import difference_of_proportions
from embedshift.statistics.summary import COSINE
from embedshift.store.groups import Choice
from embedshift.study.gate.decision import images_needed
from embedshift.study.gate.tables import images_behind
from embedshift.study.markdown import printable
from embedshift.study.paired import Estimate
from embedshift.study.paired.estimate import Interval, mover
from embedshift.study.paired.tolerances import measured_range, tolerance_estimate
from embedshift.study.study import Study, load

# Margins are multiples of this, and that of a relative shift is never below the second.
STEP, LEAST_SHIFT_MARGIN = 0.005, 0.02
# A tolerance's margin is never below this part of the distance from no change to the strongest level.
LEAST_TOLERANCE = 0.05
# Margins above these are called wide: of a recall or a relative shift, and of a tolerance as part of the same distance.
WIDE, WIDE_TOLERANCE = 0.05, 0.2
_ROOT = "if intervals shrink with the root of the number of images"

# A comment, and the rules under it.
Part = tuple[str, list[Json]]

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


def propose(study: Study | str | Path, file: str | Path = "rules.yaml", groups: Choice | None = None) -> Path:
    """Writes a commented file of rules that the study keeps."""
    study, path = study if isinstance(study, Study) else load(study), Path(file)
    if not study.is_complete():
        raise UsageError(f"{study.folder}: not finished; run the same command again first")
    study.regroup(groups)
    info = study.reader().info
    if info.units < LEAST_IMAGES:
        words = f"{info.units} {'groups of ' if info.groups else ''}images"
        raise UsageError(f"{study.folder}: {words} are too few for intervals; measure {LEAST_IMAGES} or more")
    encoder = printable(study.reader().naming.setting(info.encoder.name))
    text = _HEAD.format(study=printable(study.folder.name), encoder=encoder, images=info.counts.measured)
    parts = [part for part in (*_search_rules(study), *_shift_rules(study), *_tolerance_rules(study)) if part[1]]
    if not parts:
        raise UsageError(f"{study.folder}: no relative shift, search or tolerance here to take a bound from")
    for comment, rules in parts:
        text += indent(fill(comment, 110), "  # ") + "\n" + "".join(map(_yaml, rules)) + "\n"
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(text.rstrip() + "\n")
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already; name another file with `rules`, or delete it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _yaml(rule: Json) -> str:
    first, *others = (f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in rule.items())
    return f"  - {first}" + "".join(f"    {line}" for line in others)


def _search_rules(study: Study) -> Iterator[Part]:
    if "search" not in study.table_names:
        return
    recall = study.search().filter(pl.col("metric") == "recall@1")
    if recall.is_empty():
        return
    rows = recall.drop_nulls("ci_low").to_dicts()
    bounds = [(row["augmentation"], rounded(row["ci_low"], "0.01", up=False)) for row in rows]
    chosen = {"table": "search", "metric": "recall@1"}
    if not study.reader().families:
        yield (
            "recall@1: the fraction of views whose original ranks first. Bounds: lower ends of this study's intervals.",
            [{**chosen, "augmentation": name, "at_least": bound} for name, bound in bounds if bound > 0],
        )
    images = min(images_behind(study, row) for row in recall.iter_rows(named=True))
    if images < LEAST_IMAGES:
        return
    margin = rounded(_one_lost(images)[1], str(STEP), up=True)
    yield (
        f"recall@1 may fall by at most {margin:g} under any augmentation. {images} images can decide this "
        f"if one image is lost and at most one is gained.{_wide_margin(margin, images, interval_at=_one_lost)}",
        [{**chosen, "may_fall": margin}],
    )


def _one_lost(images: int) -> Interval:
    """Returns how far recall may have fallen if one image is lost and at most one is gained, as two signed ends."""
    fall = -min(difference_of_proportions(gained, 1, images)[0] for gained in (0, 1))
    return -fall, fall


def _wide_margin(margin: float, images: int, interval_at: Callable[[int], Interval] | None = None) -> str:
    """Returns a sentence on a wide margin that gives the images for a margin of `WIDE`; "" if it is not wide."""
    if margin <= WIDE:
        return ""
    needed = images_needed(Estimate(0.0, -margin, margin, images, interval_at), -WIDE, least=True)
    return f" The margin is wide: about {needed:,} images allow {WIDE:g}{'' if interval_at else f', {_ROOT}'}."


def _shift_rules(study: Study) -> Iterator[Part]:
    rows = study.summary().filter(pl.col("metric") == COSINE).drop_nulls("relative_shift_high").to_dicts()
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
    margin = max(LEAST_SHIFT_MARGIN, rounded(widest, str(STEP), up=True))
    yield (
        f"The relative shift may rise by at most {margin:g} under any augmentation: the width of the widest interval "
        f"here, at least {LEAST_SHIFT_MARGIN:g}. Similar checkpoints, paired by image, have narrower intervals."
        f"{_wide_margin(margin, study.reader().info.units)}",
        [{**chosen, "may_rise": margin}],
    )


def _tolerance_rules(study: Study) -> Iterator[Part]:
    if "tolerance" not in study.table_names:
        return
    bounds: list[Json] = []
    margins: list[Json] = []
    wide: list[tuple[str, int | None]] = []
    for row in study.tolerance().iter_rows(named=True):
        estimate = tolerance_estimate(study, row)
        measured = measured_range(study, row["family"], row["criterion"])
        chosen = {"table": "tolerance", **{key: row[key] for key in ("family", "criterion", "unit")}}
        weak_end = estimate.low if measured.rises else estimate.high
        if not math.isfinite(weak_end):
            continue
        least, fall = ("at_least", "may_fall") if measured.rises else ("at_most", "may_rise")
        bounds.append({**chosen, least: two_figures(weak_end, up=not measured.rises)})
        ends = (estimate.value, estimate.low, estimate.high)
        within = [end if math.isfinite(end) else measured.strongest for end in ends]
        margin = max(mover(within, within, 1).high, LEAST_TOLERANCE * measured.width)
        margins.append({**chosen, fall: two_figures(margin, up=True)})
        if margin > (limit := WIDE_TOLERANCE * measured.width):
            interval = Estimate(0.0, -margin, margin, measured.images)
            wide.append(
                (row["family"], images_needed(interval, -limit, least=True) if all(map(math.isfinite, ends)) else None)
            )
    yield (
        "tolerance: the strength at which the mean relative shift reaches 0.1, or a search misses 5 % of the views. "
        "Bounds: weak ends of this study's intervals. "
        "For units that fall as the change gets stronger, such as quality, lower is better.",
        bounds,
    )
    yield (
        f"Margins: differences that this study could not distinguish from no difference.{_wide_tolerances(wide)}",
        margins,
    )


def _wide_tolerances(wide: Sequence[tuple[str, int | None]]) -> str:
    """Returns sentences on wide margins of tolerances; "" for none."""
    if not wide:
        return ""
    names, needed = zip(*wide, strict=True)
    most = None if None in needed else max(needed)
    remedy = "More images narrow them." if most is None else f"About {most:,} images narrow them, {_ROOT}."
    words = f"Wide margins, above {100 * WIDE_TOLERANCE:g} % of the way from no change to the strongest level"
    return f" {words}: {printable(', '.join(dict.fromkeys(names)))}. {remedy}"


def rounded(value: float, step: str, *, up: bool) -> float:
    """Rounds a number up or down to a multiple of a decimal step."""
    steps = (Decimal(repr(float(value))) / Decimal(step)).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return float(steps * Decimal(step))


def two_figures(value: float, *, up: bool) -> float:
    """Rounds a number up or down to two significant figures."""
    if value == 0:
        return 0.0
    return rounded(value, str(Decimal(1).scaleb(math.floor(math.log10(abs(value))) - 1)), up=up)
