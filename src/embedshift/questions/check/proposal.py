"""Proposes first rules: the margins within which a study is equal to its reference; as comments, absolute bounds."""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.statistics.agreement import METRICS
from embedshift.statistics.equivalence import RELATIVE_SHIFT
from embedshift.statistics.halves import BELOW, agreement_floors
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.power import POWER
from embedshift.statistics.shift_ratios import SATURATED
from embedshift.statistics.summary import COSINE
from embedshift.store.groups import Choice
from embedshift.store.plans import ALL, Wanted, halves_of, plans_of_encoders
from embedshift.store.reader import Reader
from embedshift.study.paired.studies import measured_range, tolerance_estimate
from embedshift.study.shown import printable
from embedshift.study.study import Study, as_study

# What is lost by less does not matter, unless a product says otherwise: how many times as far views move, and recall@1.
RATIO, RECALL_LOSS = 1.05, 0.01

_HEAD = """\
# Rules for `embedshift check`, against {study}, from {study}: {encoder}, {images} images.
#
# Behind a rule stands how many {unit} decide it: so many show in 80 % of studies, or more, that an equal encoder is
# within the margin. Equal encoders are taken to differ as random halves of this encoder's dimensions do.
# A row is kept if its 95 % interval is within the bound. It is broken if the whole interval is beyond it, and worse if
# the whole interval is worse than {study}, both corrected for all rules (Holm); else it is undecided.
# Widen or narrow the margins as your product needs.

rules:
"""
_RATIO = f"""\
  # How many times as far the embedding may move; "{ALL}": the geometric mean over the augmentations whose relative
  # shift here is below {SATURATED:g}.
"""
_RECALL = "  # How much of recall@1, the views whose original ranks first, may be lost.\n"
_AGREEMENT = f"""\
  # Whether both encoders see the same neighbours: {BELOW:g} standard deviations below the mean of the halves. The value
  # decides, because the halves are of the same images. Delete these rules if the new encoder is of another kind.
"""
_ABSOLUTE = "  # Bounds on a study alone, which this one keeps: ends of its intervals. Without # they are rules.\n"


def propose(study: Study | str | Path, file: str | Path = "rules.yaml", groups: Choice | None = None) -> Path:
    """Writes a commented file of rules that a study keeps that is equal to this one, and nothing into the study."""
    study, path = as_study(study), Path(file)
    if not study.is_complete():
        raise study.reader().unfinished()
    study = study.with_groups(groups)
    reader = study.reader()
    info, name = reader.info, printable(study.folder.name)
    reader.refuse_fewer(LEAST_IMAGES)
    if not info.has_vectors or info.encoder.dim < 2:
        raise UsageError(f"{study.folder}: no embeddings here to take margins from; run it with `store` all")
    encoder = printable(reader.naming.setting(info.encoder.name))
    unit = "groups" if info.groups else "images"
    text = _HEAD.format(study=name, encoder=encoder, images=info.counts.measured, unit=unit)
    text += "\n".join(_paired_rules(reader, unit))
    if bounds := [*_absolute_bounds(study, reader)]:
        text += "\n" + _ABSOLUTE + _lines(bounds, "  # - ")
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already; name another file with `rules`, or delete it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _lines(rules: Iterable[Json], start: str = "  - ", needed: Iterable[str] = itertools.repeat("")) -> str:
    flat = (re.sub(r'"(\w+)": ', r"\1: ", json.dumps(rule, ensure_ascii=False)) for rule in rules)
    return "".join(f"{start}{line}{images}\n" for line, images in zip(flat, needed, strict=False))


def _paired_rules(reader: Reader, unit: str) -> Iterator[str]:
    halves, wanted = halves_of(reader), Wanted(RATIO, RECALL_LOSS, POWER)
    plans = [plan[1:] for plan in plans_of_encoders(reader, wanted, halves)]

    def rules(metric: str, bound: Json, **column: str) -> str:
        chosen = sorted((plan for plan in plans if plan[1] == metric), key=lambda plan: plan[0] != ALL)
        needed = (f"  # about {plan.n:,} {unit}" if plan.n else "  # too many images" for *_, plan in chosen)
        of = {"table": "comparison", "metric": metric, **column}
        return _lines((of | {"augmentation": name} | bound for name, *_ in chosen), needed=needed)

    ratios = rules(RELATIVE_SHIFT, {"at_most": RATIO}, column="ratio")
    yield _RATIO + ratios if ratios else "  # No rules of relative shifts: the images are not apart.\n"
    recall = rules("recall@1", {"at_least": -RECALL_LOSS})
    yield _RECALL + recall if recall else "  # No rules of recall: this study has no search.\n"
    floors = zip(METRICS, agreement_floors(halves).tolist(), strict=True)
    yield _AGREEMENT + _lines(
        {"table": "agreement", "metric": metric, "judge": "value", "at_least": rounded(floor, "0.005", up=False)}
        for metric, floor in floors
    )


def _absolute_bounds(study: Study, reader: Reader) -> Iterator[Json]:
    if "tolerance" in reader.table_names:
        for row in study.tolerance().iter_rows(named=True):
            estimate = tolerance_estimate(study, row)
            rises = measured_range(study, row["family"], row["criterion"]).rises
            weak_end = estimate.low if rises else estimate.high
            if math.isfinite(weak_end):
                of = {"table": "tolerance", **{key: row[key] for key in ("family", "criterion", "unit")}}
                yield {**of, "at_least" if rises else "at_most": two_figures(weak_end, up=not rises)}
    if reader.families:
        return
    shifts = study.summary().filter(metric=COSINE).drop_nulls("relative_shift_high")
    for name, high in shifts.select("augmentation", "relative_shift_high").iter_rows():
        of = {"table": "summary", "metric": COSINE, "column": "relative_shift", "augmentation": name}
        yield {**of, "at_most": rounded(high, "0.01", up=True)}
    if "search" in reader.table_names:
        recall = study.search().filter(pl.col("metric") == "recall@1").drop_nulls("ci_low")
        for name, low in recall.select("augmentation", "ci_low").iter_rows():
            of = {"table": "search", "metric": "recall@1", "augmentation": name}
            if (bound := rounded(low, "0.01", up=False)) > 0:
                yield {**of, "at_least": bound}


def rounded(value: float, step: str, *, up: bool) -> float:
    steps = (Decimal(repr(float(value))) / Decimal(step)).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return float(steps * Decimal(step))


def two_figures(value: float, *, up: bool) -> float:
    if value == 0:
        return 0.0
    return rounded(value, str(Decimal(1).scaleb(math.floor(math.log10(abs(value))) - 1)), up=up)
