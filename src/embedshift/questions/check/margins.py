"""Results of a user's margins: whether two encoders, or two augmentations, are equivalent."""

import math
from collections.abc import Iterator, Mapping

from embedshift.errors import UsageError
from embedshift.questions.check.result import AT_BOUND, Outcome, RuleResult, finite
from embedshift.statistics.equivalence import RECALL, RELATIVE_SHIFT, Equivalence, Margins, of_interval
from embedshift.statistics.judged import EQUIVALENT, NOT_EQUIVALENT, NOT_WORSE
from embedshift.statistics.summary import COSINE
from embedshift.store.plans import ALL
from embedshift.study.paired import PairedStudies
from embedshift.study.paired.differences import equivalences
from embedshift.study.study import Study

# Table, row, and what was found.
Judged = tuple[str, dict[str, str], Equivalence]
OUTCOMES: Mapping[str, Outcome] = {EQUIVALENT: "kept", NOT_WORSE: "kept", NOT_EQUIVALENT: "broken"}


def margin_results(study: Study, paired: PairedStudies | None, margins: Margins, rules: int) -> Iterator[RuleResult]:
    """Yields a result for each margin, or for each margin and pair of augmentations, numbered after the rules."""
    asked = {name: margin for name, margin in ((RELATIVE_SHIFT, margins.shift), (RECALL, margins.recall)) if margin}
    for number, (metric, margin) in enumerate(asked.items(), start=rules + 1):
        rows = [*(_of_pairs(study, metric, margins) if paired is None else _of_studies(paired, metric, margins))]
        if not rows:
            what = "a search" if metric == RECALL else "relative shifts"
            raise UsageError(f"{study.folder}: the margin of {metric} needs {what}")
        for table, row, found in rows:
            yield _result(found, number, margin, table, row)


def _of_studies(paired: PairedStudies, metric: str, margins: Margins) -> Iterator[Judged]:
    if (found := equivalences(paired, 1, margins).get(metric)) is not None:
        yield "comparison", {"augmentation": ALL, "metric": metric}, found


def _of_pairs(study: Study, metric: str, margins: Margins) -> Iterator[Judged]:
    is_ratio, groups = metric == RELATIVE_SHIFT, study.reader().info.group_count
    columns = ("ratio", "ratio_low", "ratio_high") if is_ratio else ("difference", "low", "high")
    pairs = study.differences().filter(metric=COSINE if is_ratio else RECALL)
    for row in pairs.drop_nulls(columns[0]).iter_rows(named=True):
        value, low, high = (math.nan if row[name] is None else row[name] for name in columns)
        place = {name: row[name] for name in ("augmentation", "other", "metric")}
        yield "differences", place, of_interval(metric, value, low, high, groups, margins)


def _result(found: Equivalence, number: int, margin: float, table: str, row: Mapping[str, str]) -> RuleResult:
    is_ratio = found.metric == RELATIVE_SHIFT
    is_one_sided = table == "comparison" and not is_ratio
    outcome: Outcome = "worse" if found.is_worse else OUTCOMES.get(found.outcome, "undecided")
    p = found.p if found.is_loss or outcome == "broken" else 1.0
    return RuleResult(
        rule=f"{'equivalent' if not is_one_sided else 'not worse'} within {found.within}",
        number=number,
        outcome=outcome,
        table=table,
        row=row,
        column="ratio" if is_ratio else "difference",
        unit="" if is_ratio else "fraction",
        operator="at_least" if is_one_sided else "within",
        bound=-margin if is_one_sided else margin,
        judge="one-sided" if table == "comparison" else "interval",
        value=finite(found.value),
        low=finite(found.low),
        high=finite(found.high),
        images=found.groups,
        images_needed=found.needed,
        note=AT_BOUND if not found.needed and not math.isnan(found.low) and outcome == "undecided" else "",
        # Rows that are equal bit by bit need no test.
        p=None if table != "comparison" or math.isnan(found.p) or found.low == found.high else p,
    )
