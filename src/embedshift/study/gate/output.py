"""Outputs of a check: sentences, JSON, JUnit XML, and Markdown for a pull request."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from embedshift.config import Json
from embedshift.study.gate.check import Checked, Result, counted
from embedshift.study.markdown import escaped, printable, table

MISSING = "-"
_MUST = {
    "at_least": "at least {}",
    "at_most": "at most {}",
    "may_fall": "fall by at most {}",
    "may_rise": "rise by at most {}",
}
# The most broken results that the verdict names.
NAMED = 3
HEADINGS = ("outcome", "rule", "row", "value", "95 % interval", "required", "images", "images needed")


def headline(checked: Checked, *, strict: bool) -> str:
    """Returns the verdict in one sentence; it names what is broken, or how many images would decide."""
    against = "" if checked.against is None else f" against {checked.against}"
    words = f"{checked.study}{against}"
    if checked.outcome == "undecided":
        return f"INCONCLUSIVE: {words}: {counted(checked)}; {what_decides(checked)}"
    if checked.outcome == "kept":
        return f"{words} passes: {counted(checked)}"
    broken = checked.of("broken")
    named = [f"{place} is {value}, required: {required}" for _, _, place, value, _, required, *_ in map(cells, broken)]
    more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"{words} does not pass: {counted(checked)}; broken: {'; '.join(named[:NAMED])}{more}"


def what_decides(checked: Checked) -> str:
    """Returns how many images would decide the undecided results."""
    undecided = checked.of("undecided")
    needed = sorted({result.images_needed for result in undecided if result.images_needed is not None})
    if not needed:
        return "more images alone do not decide; the warnings say why"
    numbers = " to ".join(f"{number:,}" for number in dict.fromkeys((needed[0], needed[-1])))
    count = sum(result.images_needed is not None for result in undecided)
    results = f"{count} of them" if count < len(undecided) else "it" if count == 1 else "them"
    return f"about {numbers} images would decide {results}"


def warnings(checked: Checked) -> list[str]:
    """Returns one line for each undecided result."""
    return [f"{result.rule} ({result.place}): {explanation(result)}" for result in checked.of("undecided")]


def explanation(result: Result) -> str:
    """Returns why a result is undecided and what would decide it; for a decided one, its remark."""
    if result.outcome != "undecided":
        return result.note
    if result.images is None:
        return f"undecided: {result.note}"
    words = f"undecided with {result.images:,} images"
    if result.images_needed is not None:
        words += f"; about {result.images_needed:,} would decide it"
    return f"{words}; {result.note}" if result.note else words


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


def to_json(checked: Checked, *, strict: bool) -> Json:
    """Returns one JSON object with the verdict, all results and the warnings."""
    return {
        "study": str(checked.study),
        "against": None if checked.against is None else str(checked.against),
        "outcome": checked.outcome,
        "strict": strict,
        "passes": checked.passes(strict=strict),
        "results": checked.to_dicts(),
        "warnings": warnings(checked),
    }


def to_markdown(checked: Checked, *, strict: bool) -> str:
    """Returns a summary for a pull request: broken and undecided rules first, kept ones folded."""
    parts = [f"### {escaped(headline(checked, strict=strict))}"]
    not_kept = [*checked.of("broken"), *checked.of("undecided")]
    if not_kept:
        parts.append(_table(not_kept))
    if lines := warnings(checked):
        parts.append("\n".join(f"- **Warning:** {escaped(line)}" for line in lines))
    if kept := checked.of("kept"):
        parts.append(f"<details><summary>{len(kept)} kept</summary>\n\n{_table(kept)}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _table(results: Sequence[Result]) -> str:
    rows = [[escaped(cell) for cell in (*cells(result), explanation(result))] for result in results]
    return table([*HEADINGS, "note"], rows)


def to_junit(checked: Checked, *, strict: bool) -> str:
    """Returns JUnit XML with a test case per result: broken = failure, undecided = skipped (`strict`: failure)."""
    failed = checked.of("broken") + (checked.of("undecided") if strict else [])
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
        if result.outcome == "broken" or (strict and result.outcome == "undecided"):
            message = words if result.outcome == "broken" else printable(explanation(result))
            ET.SubElement(case, "failure", {"type": result.outcome, "message": message}).text = words
        elif result.outcome == "undecided":
            ET.SubElement(case, "skipped", {"message": f"warning: {printable(explanation(result))}"})
        elif result.note:
            ET.SubElement(case, "system-out").text = printable(result.note)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
