"""Outputs of a check: JSON, JUnit XML, and Markdown for a pull request."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from embedshift.config import Json
from embedshift.report.numbers import count
from embedshift.study.gate.result import HEADINGS, WORSE, Checked, Result, cells, headline
from embedshift.study.shown import escaped, markdown_table, printable


def warnings(checked: Checked) -> list[str]:
    """Returns a line for each result that is undecided, or kept although it is significantly worse.

    Of those that more images decide, there is one line, for the one that takes most.
    """
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


def to_json(checked: Checked, *, strict: bool) -> Json:
    return {
        "study": str(checked.study),
        "against": None if checked.against is None else str(checked.against),
        "outcome": checked.outcome,
        "strict": strict,
        "passes": checked.passes(strict=strict),
        "results": checked.to_dicts(),
        "warnings": warnings(checked),
    }


def to_markdown(checked: Checked, *, strict: bool = False) -> str:
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
    return markdown_table([*HEADINGS, "note"], rows)


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
