"""The head of the pages of `compare` and `check`: what each study found, and its changes, all studies on one ruler."""

import logging
import string
from collections.abc import Mapping, Sequence

from embedshift.errors import UsageError
from embedshift.report.changes import ChangeRow, changes_of, finding
from embedshift.report.numbers import fixed, in_column, in_percent
from embedshift.study.shown import escaped, markdown_table
from embedshift.study.study import Study

log = logging.getLogger(__name__)
# Rows, and characters of a ruler.
ROWS, WIDTH = 8, 24


def head(studies: Mapping[str, Study]) -> list[str]:
    """Returns the paragraphs of Markdown for studies by their names here, the reference first.

    They are made of stored tables: there are none where those are missing or altered.
    """
    try:
        return _paragraphs(dict(zip(string.ascii_uppercase, studies.items(), strict=False)))
    except UsageError as error:
        log.warning("the page does not begin with what each study found: %s", error)
        return []


def _paragraphs(letters: Mapping[str, tuple[str, Study]]) -> list[str]:
    changes = {letter: changes_of(study.reader()) for letter, (_, study) in letters.items()}
    found = [
        f"- **{letter}**, {escaped(name)}: {escaped(finding(study.reader(), changes[letter]))}"
        for letter, (name, study) in letters.items()
    ]
    return ["\n".join(found), _table(changes)]


def _table(changes: Mapping[str, Sequence[ChangeRow]]) -> str:
    by_name = {letter: {change.name: change for change in of} for letter, of in changes.items()}
    common = [name for name in [*by_name.values()][-1] if all(name in of for of in by_name.values())]
    shown = {name: {letter: of[name] for letter, of in by_name.items()} for name in common}
    order = sorted(common, key=lambda name: max(change.order for change in shown[name].values()), reverse=True)[:ROWS]
    has_search = all(change.n for of in shown.values() for change in of.values())
    largest = max((_number(each, has_search) for name in order for each in shown[name].values()), default=0.0)
    end = in_percent(largest)[0] if has_search else fixed(largest, 2)
    rows = [
        [
            escaped(name),
            f"`{ruler({letter: _number(each, has_search) for letter, each in shown[name].items()}, largest)}`",
        ]
        + [_cell(change) for change in shown[name].values()]
        for name in order
    ]
    what = "missed" if has_search else "relative shift"
    return markdown_table(["change", f"{what}, 0 to {end}", *(f"{letter}: missed; shift" for letter in changes)], rows)


def _number(change: ChangeRow, has_search: bool) -> float:
    return change.fraction if has_search else change.shift or 0.0


def _cell(change: ChangeRow) -> str:
    missed = f"{change.counted}; " if change.n else ""
    level = f" (at {escaped(change.strength)})" if change.strength else ""
    return f"{missed}{in_column(change.shift, *change.shift_ends)[0]}{level}"


def ruler(numbers: Mapping[str, float], largest: float) -> str:
    """Returns numbers on one ruler of text, by their letters; an asterisk where several fall together.

    Example:
        >>> ruler({"A": 0.0, "B": 0.5, "C": 1.0}, 1.0)
        'A-----------B----------C'
    """
    places = ["-"] * WIDTH
    for letter, number in numbers.items():
        place = round((WIDTH - 1) * number / largest) if largest > 0 else 0
        places[place] = letter if places[place] == "-" else "*"
    return "".join(places)
