"""A rule, and the reader of rule files: every mistake gives one line that names the rule."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from embedshift.config.plain_yaml import read_yaml
from embedshift.errors import UsageError
from embedshift.registry.names import one_of
from embedshift.study.gate.tables import TABLES

Operator = Literal["at_least", "at_most", "may_fall", "may_rise"]
ABSOLUTE, RELATIVE = ("at_least", "at_most"), ("may_fall", "may_rise")
JUDGES = ("interval", "value")
# Largest length of a name.
_LONGEST = 200
# Largest bound; and the pattern of a number with an exponent and without a point.
_MOST, _EXPONENT = 1e12, re.compile(r"[-+]?\d+[eE][-+]?\d{1,3}")


@dataclass(frozen=True)
class Rule:
    """A bound on the numbers of some rows of a table."""

    number: int
    table: str
    column: str
    operator: Operator
    bound: float
    where: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    by_interval: bool = True
    unit: str | None = None
    name: str = ""

    @property
    def is_relative(self) -> bool:
        """Whether the rule needs a reference study."""
        return self.operator in RELATIVE

    @property
    def title(self) -> str:
        """The rule's name; without a name, its content."""
        words = self.operator.replace("_", " ") + (" by" if self.is_relative else "")
        return self.name or f"{self.table}: {self.column} {words} {self.bound:.10g}"


def read_rules(file: Path) -> list[Rule]:
    """Reads the rules of a YAML file: `rules:` and a list of flat mappings."""
    content = read_yaml(file)
    if not isinstance(content, dict) or set(content) != {"rules"} or not isinstance(content["rules"], list):
        raise UsageError(f"{file}: the file must contain 'rules:' with a list of rules, and nothing else")
    try:
        return list(as_rules(content["rules"]))
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def as_rules(content: Sequence[Any]) -> Iterator[Rule]:
    """Yields the rules of a list of mappings."""
    if not content:
        raise UsageError("the list of rules is empty")
    for number, entry in enumerate(content, start=1):
        try:
            yield _rule(number, entry)
        except UsageError as error:
            raise UsageError(f"rule {number}: {error}") from error


def _rule(number: int, entry: Any) -> Rule:
    if not isinstance(entry, Mapping):
        raise UsageError("give 'key: value' lines")
    if "table" not in entry:
        raise UsageError(f"name its table: {', '.join(TABLES)}")
    name, column = _text(entry, "name"), _text(entry, "column")
    one_of("table", _text(entry, "table"), list(TABLES))
    table = TABLES[entry["table"]]
    own = ("name", "table", "column", "unit", "judge", *ABSOLUTE, *RELATIVE)
    for key in entry:
        one_of("key", str(key), [*own, *table.keys])
    if column:
        one_of("column", column, list(table.columns))
    column = column or next(iter(table.columns))
    judge = _text(entry, "judge") or "interval"
    one_of("judge", judge, JUDGES)
    if judge == "interval" and table.columns[column] is None:
        raise UsageError(f"{column} has no interval; write 'judge: value'")
    operator, bound = _bound(entry)
    if operator in RELATIVE and column not in table.paired:
        paired = f", except {', '.join(table.paired)}" if table.paired else ""
        raise UsageError(f"{entry['table']} cannot be compared with a reference{paired}; use at_least or at_most")
    unit = entry.get("unit")
    if unit is not None:
        _text(entry, "unit")
    if unit is None and table.needs_unit:
        raise UsageError(
            f"{entry['table']} needs 'unit', because some units, such as quality, fall as the change gets stronger"
        )
    where = {key: _values(key, entry[key]) for key in table.keys if key in entry}
    return Rule(number, entry["table"], column, operator, bound, where, judge == "interval", unit, name)


def _text(entry: Mapping[str, Any], key: str) -> str:
    """Returns the text of a key; "" if the key is missing."""
    value = entry.get(key, "")
    if not isinstance(value, str) or not value.isprintable() or len(value) > _LONGEST:
        raise UsageError(f"{key}: give one line of text, at most {_LONGEST} characters")
    return value


def _bound(entry: Mapping[str, Any]) -> tuple[Operator, float]:
    given = [name for name in (*ABSOLUTE, *RELATIVE) if name in entry]
    if len(given) != 1:
        known = ", ".join((*ABSOLUTE, *RELATIVE))
        raise UsageError(f"give one of {known}{'; not ' + ' and '.join(given) if given else ''}")
    operator: Any = given[0]
    value = entry[operator]
    if isinstance(value, str) and _EXPONENT.fullmatch(value):  # YAML reads it as text
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
        raise UsageError(f"{operator}: give a number, not {value!r:.60}")
    if operator in RELATIVE and value < 0:
        raise UsageError(f"{operator}: give 0 or more, not {value:g}")
    return operator, float(value)


def _values(key: str, given: Any) -> tuple[str | int, ...]:
    values = given if isinstance(given, list) else [given]
    if not values or not all(isinstance(each, str | int) and not isinstance(each, bool) for each in values):
        raise UsageError(f"{key}: give a name or a list of names; put names such as yes or off in quotes")
    return tuple(values)
