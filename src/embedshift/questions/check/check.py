"""Checks a study against rules, each of which gives a result for each row that it chooses; and records the verdict."""

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from embedshift.config import Json
from embedshift.config.safe_files import YAML_BYTES, read_file
from embedshift.errors import UsageError
from embedshift.questions.check.margins import margin_results
from embedshift.questions.check.result import (
    OUTCOMES,
    Checked,
    RuleResult,
    corrected,
    decide,
    finite,
    named,
    what_decides,
)
from embedshift.questions.check.rules import DIFFERENCES, OF_BOTH, Rule, as_rules, chosen_rows, read_rules
from embedshift.statistics.equivalence import Margins
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.judged import ROUNDING
from embedshift.statistics.power import images_to_decide
from embedshift.store.groups import Choice
from embedshift.store.info import RulesRecord, read_info
from embedshift.store.table import Row, Rules
from embedshift.study.paired import Estimate, PairedStudies, pair_studies
from embedshift.study.paired.differences import RECALL_AT, ratio_estimate, search_difference
from embedshift.study.paired.studies import tolerance_estimate
from embedshift.study.study import Study, as_study

EQUAL = "equal: the stored rows of both studies are equal"


def check(
    study: Study | str | Path,
    rules: str | Path | Sequence[Mapping[str, Any]],
    against: Study | str | Path | None = None,
    *,
    groups: Choice | None = None,
    shift_margin: float | None = None,
    recall_margin: float | None = None,
    allow_worse: bool = False,
) -> Checked:
    """Checks a finished study against rules, for example before an encoder replaces the one in production.

    Args:
        study: The study to check, or its folder.
        rules: A YAML file, or a list of rules as dicts; see `embedshift docs check`.
        against: A reference study of the same images and views, or its folder. Rules of the tables `comparison` and
            `agreement`, and rules with `may_fall` or `may_rise`, need it.
        groups: Which images are not independent, as in `compare`; None = as they are.
        shift_margin: A factor within which relative shifts must be equivalent, such as 1.05; None = not asked.
        recall_margin: How much of recall@1 may be lost, such as 0.01; None = not asked. With `against`, margins are of
            both studies over all augmentations, by one-sided 95 % ends; without, of every pair of augmentations, by
            the simultaneous intervals of `differences`.
        allow_worse: Whether a number that is worse than the reference's passes, unless it is beyond its margin.

    Returns:
        One result per rule and row, then those of margins.

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
    margins = Margins(shift_margin, recall_margin)
    study, reference = as_study(study), None if against is None else as_study(against)
    if not study.is_complete():
        raise study.reader().unfinished()
    if isinstance(rules, str | Path):
        file, parsed = f"{rules}: ", read_rules(Path(rules))
    else:
        file, parsed = "", list(as_rules(rules)) if rules or margins == Margins() else []
    if reference is None:
        if paired_rules := [rule.number for rule in parsed if rule.needs_reference]:
            words = f"{len(paired_rules)} of {len(parsed)} rules need a reference study: give it by `against`"
            raise UsageError(f"{file}{words} (first: rule {paired_rules[0]})")
        study.regroup(groups)
    # A study beside itself tries a pipeline out.
    paired = None if reference is None else pair_studies([reference, study], groups, may_repeat=True)
    tables: dict[str, pl.DataFrame] = {}
    results: list[RuleResult] = []
    for rule in parsed:
        try:
            if rule.table not in tables:
                of_both = OF_BOTH.get(rule.table)
                tables[rule.table] = of_both(paired) if of_both and paired else study.table(rule.table)
            results += _results(rule, study, paired, tables[rule.table])
        except UsageError as error:
            raise UsageError(f"{file}rule {rule.number}: {error}") from error
    results += margin_results(study, paired, margins, len(parsed))
    folder = None if reference is None else reference.folder
    return Checked(study.folder, folder, tuple(corrected(results)), allow_worse)


def _results(rule: Rule, study: Study, paired: PairedStudies | None, table: pl.DataFrame) -> Iterator[RuleResult]:
    for row in chosen_rows(table, rule.table, rule.where):
        rule.check_row(row)
        estimate, by_interval, p = _estimate(rule, study, paired, row), rule.judge == "interval", None
        decision = decide(estimate, rule.limit, least=rule.is_least, by_interval=by_interval, same=rule.same)
        if rule.same is not None and by_interval and estimate.note != EQUAL:
            # A rule that asks for a gain fails without one.
            worst = (max if rule.is_least else min)(rule.limit, rule.same)
            is_worse = estimate.value < worst if rule.is_least else estimate.value > worst
            p = estimate.p_value(worst, rule.same) if is_worse else 1.0
        yield RuleResult(
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
            value=finite(estimate.value),
            low=finite(estimate.low),
            high=finite(estimate.high),
            images=estimate.images or None,
            images_needed=decision.images_needed,
            note=decision.note,
            p=p,
        )


def _estimate(rule: Rule, study: Study, paired: PairedStudies | None, row: Json) -> Estimate:
    column, table = rule.column, rule.checked_table
    if paired is not None and rule.needs_reference:
        relative = DIFFERENCES[rule.table][column](paired, row) if rule.is_relative else None
        found = relative or _paired_estimate(paired, table, column, row)
        same = 1.0 if rule.same is None else rule.same  # of agreement
        if abs(found.value - same) <= ROUNDING and paired.same_rows[1]:
            return Estimate(same, same, same, found.images, note=EQUAL)
        return found
    if rule.table == "tolerance":
        estimate = tolerance_estimate(study, row)
    else:
        value, low, high = _with_ends(table, column, row)
        binomial = table.is_proportion(column, row) and study.reader().info.groups is None
        images = _images_behind(study, row)
        plan = functools.partial(images_of_proportion, value, images) if binomial else None
        estimate = Estimate(value, low, high, images, plan=plan)
    _refuse_impossible(estimate, table, column, row)
    return estimate


def _paired_estimate(paired: PairedStudies, table: Rules, column: str, row: Row) -> Estimate:
    if column == "difference" and "deployment" not in row and RECALL_AT.fullmatch(row["metric"]):
        return search_difference(paired, row)
    value, low, high = _with_ends(table, column, row)
    if column == "ratio":
        return ratio_estimate(paired, row["augmentation"], value, low, high)
    return Estimate(value, low, high, paired.group_count)


def _refuse_impossible(estimate: Estimate, table: Rules, column: str, row: Row) -> None:
    least, most = (0.0, 1.0) if table.is_proportion(column, row) else table.limits(column, row)
    slack = 1e-6  # numbers are rounded
    if estimate.value < least - slack or estimate.value > most + slack:
        problem = f"{column} {estimate.value:g} is beyond {least:g} and {most:g}"
    elif estimate.low > estimate.high:
        problem = f"the interval of {column} begins at {estimate.low:g} and ends at {estimate.high:g}"
    else:
        return
    place = ", ".join(str(row[key]) for key in table.keys)
    raise UsageError(f"{place}: {problem}, which cannot be; make the report again, or update the metric's limits")


def _images_behind(study: Study, row: Row) -> int:
    info = study.reader().info
    if info.groups is not None:
        return int(row.get("groups") or info.group_count)
    if row.get("images") is not None:
        return int(row["images"])
    # n counts views.
    return info.counts.measured if row.get("n") is None else -(-row["n"] // info.draws)


def images_of_proportion(value: float, images: int, at: float) -> int | None:
    """Returns how many images show that a proportion is not another, by the Clopper-Pearson interval."""
    end = value > at

    def decides(number: int) -> bool:
        return bool((clopper_pearson(value * number, number)[1 - end] > at) == end)

    return images_to_decide(decides, images, is_certain=value in (0, 1))


def _with_ends(table: Rules, column: str, row: Row) -> tuple[float, ...]:
    names = (column, *(table.columns[column] or (None, None)))
    return tuple(math.nan if name is None or row[name] is None else float(row[name]) for name in names)


def record_rules(
    study: Study | str | Path,
    rules: str | Path | Sequence[Mapping[str, Any]],
    against: Study | str | Path | None = None,
    groups: Choice | None = None,
) -> Checked:
    """Checks a study, as `embedshift.check` does, and keeps the rules and the verdict, which its report shows first.

    Args:
        study: A finished study, or its folder; its tables are made again.
        rules: A YAML file, or a list of rules as dicts.
        against: A reference study, or its folder.
        groups: Which images are not independent; None = as they are.

    Returns:
        The results.

    Raises:
        UsageError: As of `embedshift.check`.
    """
    study = as_study(study)
    study.regroup(groups)
    study.write_tables()
    checked = check(study, rules, against, groups=groups)
    text = json.dumps(rules, indent=1) if not isinstance(rules, str | Path) else read_file(rules, YAML_BYTES).decode()
    info = read_info(study.folder)
    undecided = [f"undecided: {what_decides(checked)}"] if checked.of("undecided") else []
    record = RulesRecord(
        text=study.reader().naming.text(text),
        counts={outcome: count for outcome in OUTCOMES if (count := len(checked.of(outcome)))},
        named=(*named(checked.failed()), *undecided),
        rows=info.rows,
        groups=info.groups_digest,
    )
    info.model_copy(update={"rules": record}).write(study.folder)
    return checked
