"""Checks a study against rules; each rule gives a result for each row that it chooses."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.store.groups import Choice
from embedshift.study.gate.result import ROUNDING, WORSE, Checked, Result, decide
from embedshift.study.gate.tables import (
    DIFFERENCES,
    OF_BOTH,
    chosen_rows,
    column_estimate,
    paired_estimate,
    refuse_impossible,
)
from embedshift.study.paired import Estimate, PairedStudies, pair_studies
from embedshift.study.paired.studies import tolerance_estimate
from embedshift.study.study import Study, load

if TYPE_CHECKING:
    from embedshift.study.gate.rule import Rule

EQUAL = "equal: the stored rows of both studies are equal"


def check(
    study: Study | str | Path,
    rules: str | Path | Sequence[Mapping[str, Any]],
    against: Study | str | Path | None = None,
    *,
    groups: Choice | None = None,
) -> Checked:
    """Checks a finished study against rules, for example before an encoder replaces the one in production.

    Args:
        study: The study to check, or its folder.
        rules: A YAML file, or a list of rules as dicts; see `embedshift docs check`.
        against: A reference study of the same images and views, or its folder. Rules of the tables `comparison` and
            `agreement`, and rules with `may_fall` or `may_rise`, need it.
        groups: Which images are not independent, as in `compare`; None = as they are.

    Returns:
        One result per rule and row.

    Raises:
        UsageError: A rule is wrong or lacks its reference, a table is missing, or the studies cannot be compared.

    Example:
        >>> import tempfile
        >>> from embedshift import run, wrap
        >>> from PIL import Image
        >>> from torch import nn
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (8, 8), "red").save(folder / "a.png")
        >>> encoder = wrap(nn.Flatten(), size=8, mean=(0, 0, 0), std=(1, 1, 1), name="pixels")
        >>> dark = {"dark": lambda image, rng: image // 2, "same": lambda image, rng: image}
        >>> study = run(folder, out=folder / "study", model=encoder, augmentations=dark, workers=0)
        >>> rule = {"table": "summary", "metric": "cosine_similarity", "at_least": 0.5, "judge": "value"}
        >>> checked = check(study, [rule])
        >>> checked.outcome, [result.place for result in checked.results]
        ('kept', ['dark, cosine_similarity', 'same, cosine_similarity'])
    """
    from embedshift.study.gate.rule import as_rules, read_rules  # pydantic, which `import embedshift` does not need

    study = study if isinstance(study, Study) else load(study)
    reference = load(against) if isinstance(against, str | Path) else against
    if not study.is_complete():
        raise study.reader().unfinished()
    if isinstance(rules, str | Path):
        file, parsed = f"{rules}: ", read_rules(Path(rules))
    else:
        file, parsed = "", list(as_rules(rules))
    if reference is None:
        if paired_rules := [rule.number for rule in parsed if rule.needs_reference]:
            words = f"{len(paired_rules)} of {len(parsed)} rules need a reference study: give it by `against`"
            raise UsageError(f"{file}{words} (first: rule {paired_rules[0]})")
        study.regroup(groups)
    paired = None if reference is None else pair_studies([reference, study], groups)
    tables: dict[str, pl.DataFrame] = {}
    results: list[Result] = []
    for rule in parsed:
        try:
            if rule.table not in tables:
                of_both = OF_BOTH.get(rule.table)
                tables[rule.table] = of_both(paired) if of_both and paired else study.table(rule.table)
            results += _results(rule, study, paired, tables[rule.table])
        except UsageError as error:
            raise UsageError(f"{file}rule {rule.number}: {error}") from error
    return Checked(study.folder, None if reference is None else reference.folder, tuple(results))


def _results(rule: "Rule", study: Study, paired: PairedStudies | None, table: pl.DataFrame) -> Iterator[Result]:
    """Yields one result for each row that the rule chooses."""
    least, bound = rule.operator in ("at_least", "may_fall"), rule.bound
    if rule.is_relative and least:
        bound = -bound
    for row in chosen_rows(table, rule.table, rule.where):
        rule.check_row(row)
        estimate = _estimate(rule, study, paired, row)
        decision = decide(estimate, bound, least=least, by_interval=rule.judge == "interval")
        yield Result(
            rule=rule.title,
            number=rule.number,
            outcome=decision.outcome,
            table=rule.table,
            row={key: row[key] for key in rule.checked_table.keys},
            column=rule.column,
            unit=rule.checked_table.unit(rule.column, row),
            operator=rule.operator,
            bound=rule.bound,
            judge=rule.judge,
            value=_finite(estimate.value),
            low=_finite(estimate.low),
            high=_finite(estimate.high),
            images=estimate.images or None,
            images_needed=decision.images_needed,
            note=WORSE if decision.outcome == "kept" and _is_worse(rule, row, estimate) else decision.note,
        )


def _estimate(rule: "Rule", study: Study, paired: PairedStudies | None, row: Json) -> Estimate:
    """Returns the number that a rule bounds: that of the table's row, or its difference from the reference."""
    column, table = rule.column, rule.checked_table
    if paired is not None and rule.needs_reference:
        relative = DIFFERENCES[rule.table][column](paired, row) if rule.is_relative else None
        found = relative or paired_estimate(paired, table, column, row)
        same = 0.0 if rule.is_relative or column == "difference" else 1.0
        if abs(found.value - same) <= ROUNDING and paired.same_rows[1]:
            return Estimate(same, same, same, found.images, note=EQUAL)
        return found
    is_tolerance = rule.table == "tolerance"
    estimate = tolerance_estimate(study, row) if is_tolerance else column_estimate(study, table, column, row)
    refuse_impossible(estimate, table, column, row)
    return estimate


def _is_worse(rule: "Rule", row: Json, estimate: Estimate) -> bool:
    """Returns whether a study is significantly worse than its reference, in the direction that the rule bounds."""
    if not rule.needs_reference or rule.table == "agreement" or not row.get("significant", True):
        return False
    same = 1.0 if rule.column == "ratio" else 0.0
    return estimate.high < same if rule.operator in ("at_least", "may_fall") else estimate.low > same


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
