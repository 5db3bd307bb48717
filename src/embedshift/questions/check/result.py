"""The results of a check: what is decided, the verdict in a sentence, a row of text for each, JSON, JUnit, Markdown."""

import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import polars as pl
from scipy.special import ndtri

from embedshift.config import Json
from embedshift.report.numbers import count
from embedshift.statistics import judged
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, holm
from embedshift.statistics.judged import ROUNDING
from embedshift.statistics.power import images_to_reject
from embedshift.study.paired import Estimate
from embedshift.study.paired.estimate import Interval
from embedshift.study.result import Grid, Kind, Output
from embedshift.study.shown import Shown, escaped, markdown_table, printable

Outcome = Literal["kept", "worse", "broken", "undecided"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# Of a margin, and of an interval beside it.
OF_MARGINS: Mapping[str, Outcome] = {judged.WITHIN: "kept", judged.WORSE: "worse", judged.BEYOND: "broken"}

FEW = f"no interval with fewer than {LEAST_IMAGES} images"
NO_INTERVAL = "no interval: too few images differ"
AT_BOUND = "more images do not help: the value equals the bound"
BEYOND = "the study has no stronger levels: measure stronger levels"
MORE = "more images would decide it; their number is unknown, because the value lies beyond the strongest level"
NO_VALUE = "no value"
BY_CHANCE = "worse alone, but not where all paired rules are tested (Holm)"


@dataclass(frozen=True)
class Decision:
    """Whether a rule is kept, how many images would decide it if it is undecided, and a remark."""

    outcome: Outcome
    images_needed: int | None = None
    note: str = ""


def decide(
    estimate: Estimate, bound: float, *, least: bool, by_interval: bool = True, same: float | None = None
) -> Decision:
    """Decides whether a number satisfies a bound: by its 95 % interval, or by the number with `by_interval` off.

    `same` is the number of no difference from a reference, 0 or 1; None = there is no reference.
    """
    slack = ROUNDING * max(1.0, abs(bound))
    if math.isnan(estimate.value):
        return Decision("undecided", note=estimate.note or NO_VALUE)
    # Without an interval: the value itself, or anything beyond the last measured number.
    span = sorted((estimate.value, estimate.edge if math.isinf(estimate.value) else estimate.value))
    low, high = (estimate.low, estimate.high) if by_interval else span
    outcome = outcome_of((low, high), bound, least=least, same=same)
    if outcome != "undecided":
        return Decision(outcome, note=estimate.note)
    if math.isnan(low) or math.isnan(high):
        few = estimate.images < LEAST_IMAGES
        return Decision("undecided", LEAST_IMAGES if few else None, estimate.note or (FEW if few else NO_INTERVAL))
    if math.isinf(estimate.value):
        return Decision("undecided", note=BEYOND if (bound - estimate.edge) * estimate.value > 0 else MORE)
    needed = images_needed(estimate, bound, least=least, same=same)
    is_at_bound = abs(estimate.value - bound) <= slack and same in (None, bound)
    remark = AT_BOUND if is_at_bound else BEYOND if math.isinf(low) or math.isinf(high) else ""
    return Decision("undecided", needed, estimate.note or ("" if needed is not None else remark))


def finite(value: float) -> float | None:
    """Returns a number for JSON; None for NaN and infinity."""
    return value if math.isfinite(value) else None


def outcome_of(interval: Interval, bound: float, *, least: bool, same: float | None = None) -> Outcome:
    """Returns what an interval says of a bound, and of no difference from a reference."""
    same, scale = bound if same is None else same, math.copysign(max(1.0, abs(bound)), 1 if least else -1)
    low, high = ((end - same) / scale for end in (interval if least else interval[::-1]))
    return OF_MARGINS.get(judged.decide((low, high), (same - bound) / scale), "undecided")


def images_needed(estimate: Estimate, bound: float, *, least: bool, same: float | None = None) -> int | None:
    """Returns how many images would decide in 80 % of studies; of a paired rule, how many show that it is kept."""
    value = estimate.value
    if not math.isfinite(value) or abs(value - bound) <= ROUNDING * max(1.0, abs(bound)):
        return None
    return estimate.images_to_exclude(bound) if same is None or (value > bound) == least else None


MISSING = "-"
WORSE = "kept, although the whole interval is worse than the reference"
_MUST = {
    "at_least": "at least {}",
    "at_most": "at most {}",
    "may_fall": "fall by at most {}",
    "may_rise": "rise by at most {}",
    "within": "within {}",
}
# The most broken results that the verdict names; the exit code where a rule fails.
NAMED, FAILED = 3, 3
HEADINGS = ("outcome", "rule", "row", "value", "95 % interval", "required", "images", "images needed")


@dataclass(frozen=True)
class RuleResult:
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
    p: float | None = None  # of no difference from the reference

    @property
    def place(self) -> str:
        """The row as text: "jpeg, recall@1"."""
        return ", ".join(map(str, self.row.values()))

    def to_dict(self) -> Json:
        """Returns the fields as a dict, ready for JSON."""
        return asdict(self)


def corrected(results: Sequence[RuleResult]) -> Iterator[RuleResult]:
    """Corrects p-values for all paired rules (Holm); what fails by chance is undecided, and needs more images."""
    p = [result.p for result in results if result.p is not None]
    adjusted = iter(holm(p).tolist())
    for result in results:
        own = None if result.p is None else next(adjusted)
        if result.p is None or own is None or (own <= 1 - CONFIDENCE and result.outcome != "kept"):
            yield replace(result, p=own)
        elif result.outcome == "kept":
            yield replace(result, p=own, note=WORSE if own <= 1 - CONFIDENCE else result.note)
        else:
            show_it = images_to_reject(result.images or 0, ndtri(1 - result.p / 2), (1 - CONFIDENCE) / len(p))
            needed = min(filter(None, (result.images_needed, show_it)), default=None)
            note = result.note if result.outcome == "undecided" else BY_CHANCE
            yield replace(result, p=own, outcome="undecided", images_needed=needed, note=note)


@dataclass(frozen=True, repr=False)
class Checked(Shown):
    """The results of all rules.

    Args:
        study: The study's folder.
        against: The reference study's folder; None = no reference.
        results: One result per rule and row.
        allow_worse: Whether what is worse than the reference, but may be within the margin, passes.
    """

    study: Path
    against: Path | None
    results: tuple[RuleResult, ...]
    allow_worse: bool = False

    def _lines(self) -> list[str]:
        return [headline(self)]

    def _table(self) -> pl.DataFrame:
        return pl.DataFrame([cells(result) for result in self.results], schema=HEADINGS, orient="row")

    def of(self, outcome: Outcome) -> list[RuleResult]:
        """Returns the results with one outcome."""
        return [result for result in self.results if result.outcome == outcome]

    @property
    def outcome(self) -> Outcome:
        """The worst outcome: "broken" before "worse" before "undecided" before "kept"."""
        return next((each for each in ("broken", "worse", "undecided") if self.of(each)), "kept")

    def failed(self, *, strict: bool = False) -> list[RuleResult]:
        """Returns the results that are broken or worse; with `strict`, those that are undecided, too."""
        failing = {"broken", *([] if self.allow_worse else ["worse"]), *(["undecided"] if strict else [])}
        return [result for result in self.results if result.outcome in failing]

    def passes(self, *, strict: bool = False) -> bool:
        """Returns whether no rule is broken or worse; with `strict`, whether every rule is also decided."""
        return not self.failed(strict=strict)

    def to_dicts(self) -> list[Json]:
        """Returns all results as dicts, ready for JSON."""
        return [result.to_dict() for result in self.results]

    @property
    def _grid(self) -> Grid:
        rows = [cells(result) for result in self.results]
        kinds: tuple[Kind, ...] = ("outcome", "text", "text", "number", "text", "text", "number")
        narrow = [
            (outcome, f"{rule}\n{row}", f"{value}  {interval}\n{required}")
            for outcome, rule, row, value, interval, required, *_ in rows
        ]
        headings = ("outcome", "rule\nrow", "value, 95 % interval\nrequired")
        return Grid(HEADINGS, kinds, rows, narrow=[Grid(headings, ("outcome", "text"), narrow)])

    def answer(self, *, strict: bool = False, files: Mapping[Path, str] | None = None) -> Output:
        """Returns what `check` prints."""
        lines = [*(f"warning: {line}" for line in warnings(self)), headline(self, strict=strict)]
        exit_code = 0 if self.passes(strict=strict) else FAILED
        return Output(to_json(self, strict=strict), [self._grid, *lines], exit_code, files or {})


def headline(checked: Checked, *, strict: bool = False) -> str:
    """Returns the verdict in one sentence; it names what is broken, or how many images would decide."""
    against = "" if checked.against is None else f" against {checked.against}"
    words = f"{checked.study}{against}"
    if failed := checked.failed():
        reasons = "; ".join(
            f"{outcome}: {'; '.join(named(found))}"
            for outcome in ("broken", "worse")
            if (found := [result for result in failed if result.outcome == outcome])
        )
        return f"{words} does not pass: {counted(checked)}; {reasons}"
    if checked.of("undecided"):
        refused = "; with `strict` that does not pass" if strict else ""
        return f"INCONCLUSIVE: {words}: {counted(checked)}; {what_decides(checked)}{refused}"
    return f"{words} passes: {counted(checked)}"


def named(results: Sequence[RuleResult]) -> list[str]:
    """Returns the first results, each with its number and what is required, and how many more there are."""
    words = [f"{place} is {value}, required: {required}" for _, _, place, value, _, required, *_ in map(cells, results)]
    return words[:NAMED] + ([f"and {len(words) - NAMED} more"] if len(words) > NAMED else [])


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
    """Returns how many results are kept, worse (if any), broken and undecided, as text."""
    counts = Counter(result.outcome for result in checked.results)
    return ", ".join(f"{counts[each]} {each}" for each in OUTCOMES if each != "worse" or counts[each])


def cells(result: RuleResult) -> Sequence[str]:
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


def warnings(checked: Checked) -> list[str]:
    """Returns lines of what is undecided, one for all that more images decide, and of what is kept although worse."""
    undecided = checked.of("undecided")
    decidable = [result for result in undecided if result.images_needed is not None and not result.note]
    most = max(decidable, key=lambda result: result.images_needed or 0, default=None)
    others = f" and {count(len(decidable) - 1, 'other')}" if len(decidable) > 1 else ""
    return [
        f"{result.rule} ({result.place}): {explanation(result)}{others if result is most else ''}"
        for result in undecided
        if result is most or result not in decidable
    ] + [
        f"{result.rule} ({result.place}): {cells(result)[3]} ({cells(result)[4]}) is {result.note}"
        for result in checked.of("kept")
        if result.note == WORSE
    ]


def explanation(result: RuleResult) -> str:
    """Returns why a result is undecided and what would decide it; for a decided one, its remark."""
    if result.outcome != "undecided":
        return result.note
    if result.images is None:
        return f"undecided: {result.note}"
    words = f"undecided with {result.images:,} images"
    if result.images_needed is not None:
        words += f"; about {result.images_needed:,} would decide it"
    return f"{words}; {result.note}" if result.note else words


def to_json(checked: Checked, *, strict: bool) -> Json:
    """Returns the results as one JSON object."""
    return {
        "study": str(checked.study),
        "against": None if checked.against is None else str(checked.against),
        "outcome": checked.outcome,
        "strict": strict,
        "allow_worse": checked.allow_worse,
        "passes": checked.passes(strict=strict),
        "results": checked.to_dicts(),
        "warnings": warnings(checked),
    }


def to_markdown(checked: Checked, *, strict: bool = False, head: Sequence[str] = ()) -> str:
    """Returns a summary for a pull request: broken and undecided rules, the head of the studies, kept rules folded."""
    parts = [f"### {escaped(headline(checked, strict=strict))}"]
    not_kept = [*checked.of("broken"), *checked.of("worse"), *checked.of("undecided")]
    if not_kept:
        parts.append(_table(not_kept))
    if lines := warnings(checked):
        parts.append("\n".join(f"- **Warning:** {escaped(line)}" for line in lines))
    parts += head
    if kept := checked.of("kept"):
        parts.append(f"<details><summary>{len(kept)} kept</summary>\n\n{_table(kept)}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _table(results: Sequence[RuleResult]) -> str:
    rows = [[escaped(cell) for cell in (*cells(result), explanation(result))] for result in results]
    return markdown_table([*HEADINGS, "note"], rows)


def to_junit(checked: Checked, *, strict: bool) -> str:
    """Returns JUnit XML with a case per result: broken or worse = failure, undecided = skipped (`strict`: failure)."""
    failed = checked.failed(strict=strict)
    numbers = {"tests": len(checked.results), "failures": len(failed), "errors": 0}
    numbers["skipped"] = 0 if strict else len(checked.of("undecided"))
    counts = {name: str(count) for name, count in numbers.items()} | {"time": "0"}
    root = ET.Element("testsuites", {"name": "embedshift check"} | counts)
    suite = ET.SubElement(root, "testsuite", {"name": printable(str(checked.study))} | counts)
    for result in checked.results:
        name = printable(f"{result.number}. {result.rule} ({result.place})")
        case = ET.SubElement(suite, "testcase", {"classname": f"embedshift.{result.table}", "name": name, "time": "0"})
        words = printable(
            "; ".join(f"{heading}: {cell}" for heading, cell in zip(HEADINGS, cells(result), strict=True))
        )
        if result in failed:
            message = printable(explanation(result)) if result.outcome == "undecided" else words
            ET.SubElement(case, "failure", {"type": result.outcome, "message": message}).text = words
        elif result.outcome == "undecided":
            ET.SubElement(case, "skipped", {"message": f"warning: {printable(explanation(result))}"})
        elif result.note:
            ET.SubElement(case, "system-out").text = printable(result.note)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
