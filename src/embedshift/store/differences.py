"""Describes the differences between two identities."""

import json
from collections.abc import Mapping
from typing import Any


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", *, words: tuple[str, str] = ("there", "now")
) -> list[str]:
    """Describes the differences between two configurations, setting by setting."""
    found: list[str] = []
    for key in dict.fromkeys([*then, *now]):
        old, new = then.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.", words=words)
        elif old != new:
            found.append(f"{prefix}{key}: {_short(old)} {words[0]}, {_short(new)} {words[1]}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
