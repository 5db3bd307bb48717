"""Checks a study against rules; each rule gives a result for each row that it chooses."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.study.comparison import compare
from embedshift.study.gate.decision import Decision, Estimate, Outcome, decide
from embedshift.study.gate.paired import EQUAL, Pair, difference, paired_with
from embedshift.study.gate.rule import Rule, as_rules, read_rules
from embedshift.study.gate.tables import TABLES, check_bound, check_unit, chosen_rows, estimate, unit_of
from embedshift.study.study import Study, load

WITHOUT = "needs a reference study (`against`)"
COMPARISON = "comparison"


@dataclass(frozen=True)
class Result:
    """The result of a rule for one row of its table."""

    rule: str
    number: int
    outcome: Outcome
    table: str
    row: Mapping[str, str | int]
    column: str
    unit: str
    operator: str
    bound: float
    judge: str
    value: float | None
    low: float | None
    high: float | None
    images: int | None
    images_needed: int | None
    note: str

    @property
    def place(self) -> str:
        """The row as text: "jpeg, recall@1"."""
        return ", ".join(map(str, self.row.values()))

    def to_dict(self) -> Json:
        """Returns the fields as a dict, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Checked:
    """The results of all rules.

    Args:
        study: The study's folder.
        against: The reference study's folder; None = no reference.
        results: One result per rule and row.
    """

    study: Path
    against: Path | None
    results: tuple[Result, ...]

    def of(self, outcome: Outcome) -> list[Result]:
        """Returns the results with one outcome."""
        return [result for result in self.results if result.outcome == outcome]

    @property
    def outcome(self) -> Outcome:
        """The worst outcome: "broken" before "undecided" before "kept"."""
        return "broken" if self.of("broken") else "undecided" if self.of("undecided") else "kept"

    def passes(self, *, strict: bool = False) -> bool:
        """Returns whether no rule is broken; with `strict`, whether every rule is also decided."""
        return self.outcome == "kept" or (self.outcome == "undecided" and not strict)

    def to_dicts(self) -> list[Json]:
        """Returns all results as dicts, ready for JSON."""
        return [result.to_dict() for result in self.results]


def check(
    study: Study | str | Path,
    rules: str | Path | Sequence[Mapping[str, Any]],
    against: Study | str | Path | None = None,
) -> Checked:
    """Checks a finished study against rules, for example before an encoder replaces the one in production.

    Args:
        study: The study to check, or its folder.
        rules: A YAML file, or a list of rules as dicts; see `docs/check.md`.
        against: A reference study of the same images and views, or its folder. Rules with `may_fall` or `may_rise` need
            it; without it they are undecided.

    Returns:
        One result per rule and row.

    Raises:
        UsageError: A rule is wrong, a table is missing, or the studies cannot be compared.

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
        >>> found = check(study, [rule])
        >>> found.outcome, [result.place for result in found.results]
        ('kept', ['dark, cosine_similarity', 'same, cosine_similarity'])
    """
    own, reference = (each if each is None or isinstance(each, Study) else load(each) for each in (study, against))
    assert own is not None
    if not own.is_complete():
        raise UsageError(f"{own.folder}: not finished; run the same command again first")
    if isinstance(rules, str | Path):
        file, read = f"{rules}: ", read_rules(Path(rules))
    else:
        file, read = "", list(as_rules(rules))
    pair = None if reference is None else paired_with(own, reference)
    made: dict[str, pl.DataFrame] = {}
    results: list[Result] = []
    for rule in read:
        try:
            results += _judged(rule, own, pair, made)
        except UsageError as error:
            raise UsageError(f"{file}rule {rule.number}: {error}") from error
    return Checked(own.folder, None if reference is None else reference.folder, tuple(results))


def _judged(rule: Rule, study: Study, pair: Pair | None, made: dict[str, pl.DataFrame]) -> Iterator[Result]:
    if rule.table not in made:
        made[rule.table] = _table(rule.table, study, pair)
    for row in chosen_rows(made[rule.table], rule.table, rule.where):
        check_unit(rule.unit, rule.table, rule.column, row)
        check_bound(rule.bound, rule.table, rule.column, row, relative=rule.is_relative)
        yield _result(rule, study, pair, row)


def _table(name: str, study: Study, pair: Pair | None) -> pl.DataFrame:
    if name != COMPARISON:
        return study.table(name)
    if pair is None:
        raise UsageError(f"table {name} needs a reference study (`against`)")
    return compare([pair.reference, pair.study]).comparison


def _result(rule: Rule, study: Study, pair: Pair | None, row: Json) -> Result:
    found: Estimate | None
    least, bound = rule.operator in ("at_least", "may_fall"), rule.bound
    if rule.is_relative:
        found, bound = None, -bound if least else bound
        if pair is not None:
            found = difference(pair, rule.table, rule.column, row)
    elif rule.table == COMPARISON and pair is not None and pair.equal:
        found = Estimate(0.0, 0.0, 0.0, len(pair.ids), note=EQUAL)
    else:
        found = estimate(study, rule.table, rule.column, row)
    if found is None:
        decision, found = Decision("undecided", note=WITHOUT), Estimate(nan, nan, nan, 0)
    else:
        decision = decide(found, bound, least=least, by_interval=rule.by_interval)
    return Result(
        rule=rule.title,
        number=rule.number,
        outcome=decision.outcome,
        table=rule.table,
        row={key: row[key] for key in TABLES[rule.table].keys},
        column=rule.column,
        unit=unit_of(rule.table, rule.column, row),
        operator=rule.operator,
        bound=rule.bound,
        judge="interval" if rule.by_interval else "value",
        value=_finite(found.value),
        low=_finite(found.low),
        high=_finite(found.high),
        images=found.images or None,
        images_needed=decision.images_needed,
        note=decision.note,
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def counted(checked: Checked) -> str:
    """Returns how many results are kept, broken and undecided, as text."""
    often = Counter(result.outcome for result in checked.results)
    return ", ".join(f"{often[outcome]} {outcome}" for outcome in ("kept", "broken", "undecided"))
