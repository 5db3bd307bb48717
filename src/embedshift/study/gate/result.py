"""The results of a check, and what they say: the verdict in a sentence, and a row of text for each result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from embedshift.config import Json
from embedshift.study.gate.decision import Outcome
from embedshift.study.shown import Shown

MISSING = "-"
WORSE = "kept, although the whole interval is worse than the reference"
_MUST = {
    "at_least": "at least {}",
    "at_most": "at most {}",
    "may_fall": "fall by at most {}",
    "may_rise": "rise by at most {}",
}
# The most broken results that the verdict names.
NAMED = 3
HEADINGS = ("outcome", "rule", "row", "value", "95 % interval", "required", "images", "images needed")


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


@dataclass(frozen=True, repr=False)
class Checked(Shown):
    """The results of all rules.

    Args:
        study: The study's folder.
        against: The reference study's folder; None = no reference.
        results: One result per rule and row.
    """

    study: Path
    against: Path | None
    results: tuple[Result, ...]

    def _lines(self) -> list[str]:
        return [headline(self)]

    def _table(self) -> pl.DataFrame:
        return pl.DataFrame([cells(result) for result in self.results], schema=HEADINGS, orient="row")

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


def headline(checked: Checked, *, strict: bool = False) -> str:
    """Returns the verdict in one sentence; it names what is broken, or how many images would decide."""
    against = "" if checked.against is None else f" against {checked.against}"
    words = f"{checked.study}{against}"
    if checked.outcome == "undecided":
        refused = "; with `strict` that does not pass" if strict else ""
        return f"INCONCLUSIVE: {words}: {counted(checked)}; {what_decides(checked)}{refused}"
    if checked.outcome == "kept":
        return f"{words} passes: {counted(checked)}"
    broken = checked.of("broken")
    named = [f"{place} is {value}, required: {required}" for _, _, place, value, _, required, *_ in map(cells, broken)]
    more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"{words} does not pass: {counted(checked)}; broken: {'; '.join(named[:NAMED])}{more}"


def what_decides(checked: Checked) -> str:
    """Returns how many images would decide each undecided result in 80 % of studies."""
    undecided = checked.of("undecided")
    needed = sorted({result.images_needed for result in undecided if result.images_needed is not None})
    if not needed:
        return "more images alone do not decide; the warnings say why"
    numbers = " to ".join(f"{number:,}" for number in dict.fromkeys((needed[0], needed[-1])))
    count = sum(result.images_needed is not None for result in undecided)
    results = f"{count} of them" if count < len(undecided) else "it" if count == 1 else "them"
    return f"about {numbers} images would decide {results} with a chance of 80 %"


def counted(checked: Checked) -> str:
    """Returns how many results are kept, broken and undecided, as text."""
    counts = Counter(result.outcome for result in checked.results)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("kept", "broken", "undecided"))


def cells(result: Result) -> Sequence[str]:
    """Returns a result as the row of a table, in the order of `HEADINGS`."""
    relative = result.operator in ("may_fall", "may_rise")
    low, high = (number(end, signed=relative) for end in (result.low, result.high))
    missing = result.low is None and result.high is None
    images, needed = (MISSING if count is None else f"{count:,}" for count in (result.images, result.images_needed))
    unit = f" {result.unit}" if result.unit not in ("", "fraction") else ""
    return (
        result.outcome, result.rule, result.place, number(result.value, signed=relative),
        MISSING if missing else f"{low} to {high}", _MUST[result.operator].format(f"{result.bound:g}{unit}"),
        images, needed,
    )  # fmt: skip


def number(value: float | None, *, signed: bool = False) -> str:
    """Formats a number with four significant figures and at most five decimals; a dash for None."""
    if value is None:
        return MISSING
    short = round(value, 5) + 0.0  # no minus in front of a zero
    text = f"{short:.5f}".rstrip("0") if 0 < abs(short) < 0.001 else f"{short:.4g}"
    return f"+{text}" if signed and short > 0 else text
