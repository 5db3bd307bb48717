"""Reads YAML files of settings, pipelines, texts and rules as plain values."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedshift.config.files import read_text
from embedshift.errors import UsageError, reason

if TYPE_CHECKING:
    import yaml

# Bytes of a file, lists and mappings in each other, characters of one text (Python prints no number of more than 4,300
# digits).
YAML_BYTES, YAML_DEPTH, YAML_TEXT = 256 * 1024, 20, 3500
# Plain numbers that YAML reads to another base.
_BASES = {60: re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), 8: re.compile(r"[-+]?0[0-7_]+")}


def read_yaml(file: Path) -> Any:
    """Reads a YAML file as plain values; nothing in the file can run code or grow beyond the file's size."""
    import yaml

    text, loader = read_text(file, YAML_BYTES), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _require_plain_values(yaml.parse(text, loader))
        node = yaml.compose(text, loader)
        _refuse_duplicate_keys(node)
        return None if node is None else yaml.SafeLoader("").construct_document(node)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    except yaml.MarkedYAMLError as error:
        raise UsageError(f"{file}: not YAML ({_line(error.problem_mark)}{error.problem})") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two for impossible numbers and dates
        raise UsageError(f"{file}: not YAML ({reason(error)})") from error


def _require_plain_values(events: "Iterable[yaml.Event]") -> None:
    """Raises at the first event that is not plain; builds no value."""
    import yaml

    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        tag = str(getattr(event, "tag", None) or "").replace("tag:yaml.org,2002:", "!!")
        if getattr(event, "anchor", None):
            words = "anchors and aliases (& and *) are not allowed; repeat the value instead"
        elif tag:
            words = f"the tag {tag[:60]} is not allowed; write a plain value"
        elif depth > YAML_DEPTH:
            words = f"nested deeper than {YAML_DEPTH} lists and mappings"
        elif len(getattr(event, "value", "")) > YAML_TEXT:
            words = f"a text of more than {YAML_TEXT:,} characters"
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0] and (base := _base(event.value)):
            words = (
                f"{event.value:.60} is a number to the base {base} in YAML; write a plain number, or put it in quotes"
            )
        else:
            continue
        raise UsageError(f"{_line(event.start_mark)}{words}")


def _base(text: str) -> int | None:
    return next((base for base, form in _BASES.items() if form.fullmatch(text)), None)


def _refuse_duplicate_keys(node: Any) -> None:
    """Refuses keys that occur twice in a mapping, and merged mappings, which could add such keys."""
    if not isinstance(getattr(node, "value", None), list):
        return
    names: set[str] = set()
    for part in node.value:
        name, inner = part if isinstance(part, tuple) else (None, part)
        if name is not None and isinstance(name.value, str):
            if name.value in names or name.tag.endswith(":merge"):
                words = "is not allowed; repeat the values instead" if name.tag.endswith(":merge") else "appears twice"
                raise UsageError(f"{_line(name.start_mark)}{name.value[:60]!r} {words}")
            names.add(name.value)
        _refuse_duplicate_keys(inner)


def _line(mark: Any) -> str:
    return "" if mark is None else f"line {mark.line + 1}: "
