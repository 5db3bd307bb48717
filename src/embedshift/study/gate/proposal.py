"""Proposes first rules: bounds that a study keeps, and margins that its number of images can decide."""

import json
import math
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from textwrap import fill, indent

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.paired_shares import difference_of_shares
from embedshift.statistics.summary import COSINE
from embedshift.study.gate.estimates import mover
from embedshift.study.gate.tables import estimate, images_of, strengths
from embedshift.study.study import Study, load

# Margins are multiples of this, and a share's is never below the second.
STEP, LEAST_SHARE = 0.005, 0.02
# A tolerance's margin is never below this part of the way from no change to the strongest level.
LEAST_TOLERANCE = 0.05

_HEAD = """\
# Rules for `embedshift check`, written from {study}: {encoder}, {images} images.
# Change the bounds to what your product needs.
#
# at_least, at_most: bounds on the numbers of the study that is checked.
# may_fall, may_rise: by how much against the reference study of the same images and views.
# A rule is kept where the end of its 95 % interval keeps it, broken where the whole interval breaks it, and otherwise
# not decided by this many images. A filter that is left out (augmentation, metric, family): every row is judged.

rules:
"""


def propose(study: Study | str | Path, file: str | Path = "rules.yaml") -> Path:
    """Writes a commented file of rules that the study keeps.

    Args:
        study: A finished study of 8 images or more, or its folder.
        file: The file to write.

    Returns:
        The path of the file.

    Raises:
        UsageError: The file exists already, or the study has no interval to derive a bound from.
    """
    own, path = study if isinstance(study, Study) else load(study), Path(file)
    if not own.is_complete():
        raise UsageError(f"{own.folder}: not finished; run the same command again first")
    info = own.reader().info
    if info.counts.measured < LEAST_IMAGES:
        raise UsageError(
            f"{own.folder}: {info.counts.measured} images give no interval; measure {LEAST_IMAGES} or more"
        )
    naming = own.reader().naming
    encoder = _line(naming.setting(info.encoder.name))
    text = _HEAD.format(study=_line(own.folder.name), encoder=encoder, images=info.counts.measured)
    parts = [part for part in (*_of_search(own), *_of_shares(own), *_of_tolerances(own)) if part[1]]
    if not parts:
        raise UsageError(f"{own.folder}: no share, search or tolerance here to take a bound from")
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
            "recall@1: the share of views that find their own original first. Bounds: the low ends of this study.",
            [{**chosen, "augmentation": name, "at_least": bound} for name, bound in bounds if bound > 0],
        )
    images = min(images_of(study, row) for row in recall.iter_rows(named=True))
    if images < LEAST_IMAGES:
        return
    ends = (difference_of_shares(gained, 1, images)[0] for gained in (0, 1))
    margin = rounded(-min(ends), str(STEP), up=True)
    yield (
        f"Under no augmentation may recall@1 fall by more than {margin:g}: {images} images can decide it, "
        "where one image is lost and one or none is gained.",
        [{**chosen, "may_fall": margin}],
    )


def _of_shares(study: Study) -> Iterator[Part]:
    table = study.summary().filter(pl.col("metric") == COSINE)
    rows = _known(table, "share_high")
    if not rows:
        return
    chosen = {"table": "summary", "metric": COSINE, "column": "share"}
    if not study.reader().families:
        yield (
            "Share of the way to an unrelated image: 0 = no change, 1 = as far as another image. "
            "Bounds: the high ends of this study.",
            [
                {**chosen, "augmentation": row["augmentation"], "at_most": rounded(row["share_high"], "0.01", up=True)}
                for row in rows
            ],
        )
    widest = max(max(row["share"] - row["share_low"], row["share_high"] - row["share"]) for row in rows)
    margin = max(LEAST_SHARE, rounded(widest, str(STEP), up=True))
    yield (
        f"Under no augmentation may the share rise by more than {margin:g}: as wide as the widest interval here, and "
        f"{LEAST_SHARE:g} at least. Paired by image, checkpoints that are alike have narrower intervals.",
        [{**chosen, "may_rise": margin}],
    )


def _of_tolerances(study: Study) -> Iterator[Part]:
    if "tolerance" not in study.table_names:
        return
    kept: list[Json] = []
    margins: list[Json] = []
    for row in study.tolerance().iter_rows(named=True):
        found = estimate(study, "tolerance", "value", row)
        known = strengths(study, row["family"], row["criterion"])
        chosen = {"table": "tolerance", **{key: row[key] for key in ("family", "criterion", "unit")}}
        weak = found.low if known.rises else found.high
        if not math.isfinite(weak):
            continue
        kept.append({**chosen, "at_least" if known.rises else "at_most": two_figures(weak, up=not known.rises)})
        low, value, high = (
            each if math.isfinite(each) else known.strongest for each in (found.low, found.value, found.high)
        )
        margin = max(mover([value, low, high], [value, low, high], 1).high, LEAST_TOLERANCE * known.way)
        margins.append({**chosen, "may_fall" if known.rises else "may_rise": two_figures(margin, up=True)})
    yield (
        "Tolerance: the strength at which the mean share reaches 0.1, or a search misses 5 % of the views. "
        "Bounds: the weak ends of this study. "
        "Some units fall where a change gets stronger, as quality does: there, less is better.",
        kept,
    )
    yield "Margins: what this study could not tell from no difference, if it were of other images.", margins


def _known(table: pl.DataFrame, column: str) -> list[Json]:
    return table.filter(pl.col(column).is_not_null()).to_dicts()


def rounded(value: float, step: str, *, up: bool) -> float:
    """Rounds a number up or down to a multiple of a decimal step.

    Example:
        >>> rounded(0.0279, "0.005", up=True), rounded(0.97, "0.01", up=False)
        (0.03, 0.97)
    """
    steps = (Decimal(repr(float(value))) / Decimal(step)).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return float(steps * Decimal(step))


def two_figures(value: float, *, up: bool) -> float:
    """Rounds a number up or down to two significant figures.

    Example:
        >>> two_figures(0.01234, up=True), two_figures(47.9, up=False), two_figures(0.0, up=True)
        (0.013, 47.0, 0.0)
    """
    if value == 0:
        return 0.0
    return rounded(value, str(Decimal(1).scaleb(math.floor(math.log10(abs(value))) - 1)), up=up)
