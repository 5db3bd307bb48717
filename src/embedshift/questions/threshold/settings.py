"""What a threshold has to hold: from the choices, else as it was for the kept tables, else the default."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from embedshift.errors import UsageError
from embedshift.questions.threshold import Choices
from embedshift.questions.threshold.numbers import MOST_CALIBRATION, calibration_groups, needed
from embedshift.sources.stores import address_of, is_there, located, state_of
from embedshift.store.files import file_state
from embedshift.store.reader import Reader

TABLE, WRONG = "threshold", 0.05
WRONG_QUERIES, WRONG_FLAGS = "wrong_queries", "wrong_flags"
# Increased when a change of this question changes its tables.
VERSION = "1"


@dataclass(frozen=True)
class Asked:
    """What is asked: a rule and its rate, the confidence, and more images to search among ("" = none)."""

    rule: str
    wrong: float
    confidence: float | None
    gallery: str


def is_as_kept(reader: Reader) -> bool:
    """Returns whether no setting is given, so that those of the kept table hold."""
    return replace(reader.choice(Choices), measured=False) == Choices()


def asked_of(reader: Reader) -> Asked:
    """Returns what is asked of a study."""
    given, kept = reader.choice(Choices), reader.kept_settings(TABLE)
    if is_as_kept(reader) and kept:
        place = kept["gallery"] if is_there(kept["gallery"]) else ""
        return Asked(kept["rule"], float(kept["wrong"]), float(kept["confidence"]) or None, place)
    if given.wrong_flags is not None and given.wrong_queries is not None:
        raise UsageError("`wrong_queries` and `wrong_flags` are two rules: give one of them")
    if given.wrong_flags is not None and given.confidence is not None:
        raise UsageError("`confidence` is of `wrong_queries`; `wrong_flags` holds on average: leave one of them out")
    rule, wrong = WRONG_QUERIES, WRONG if given.wrong_queries is None else given.wrong_queries
    if given.wrong_flags is not None:
        rule, wrong = WRONG_FLAGS, given.wrong_flags
    for name, value in ((rule, wrong), ("confidence", given.confidence)):
        if value is not None and not (isinstance(value, int | float) and 0 < value < 1):
            raise UsageError(f"`{name}` {value!r:.20}: give a number above 0 and below 1")
    place = "" if given.gallery is None else located(given.gallery)
    return Asked(rule, wrong, given.confidence, place)


def lacks(reader: Reader) -> str:
    """Returns why a study has too few images for what is asked, with the number that would do; "" = it has enough."""
    asked, groups = asked_of(reader), reader.info.group_count
    have, least = calibration_groups(groups), needed(asked.wrong, asked.confidence)
    if have >= max(1, least):
        return ""
    sure = "" if asked.confidence is None else f" with `confidence` {asked.confidence:g}"
    words = f"`{asked.rule}` {asked.wrong:g}{sure} needs {least:,} calibration queries"
    if least > MOST_CALIBRATION:
        return f"{words}, and at most {MOST_CALIBRATION:,} are made; give a larger number"
    unit = "groups of images" if reader.groups is not None else "images"
    return f"{words}, and {reader.folder} has {have:,}, a third of its {groups:,} {unit}; measure {3 * least:,}"


def settings_of(reader: Reader) -> Mapping[str, str]:
    """Returns the sources of the tables beside the shards; raises UsageError where a call asks for too much."""
    asked = asked_of(reader)
    if reader.choice(Choices) != Choices() and (problem := lacks(reader)):
        raise UsageError(problem)
    return {
        "version": VERSION,
        "groups": reader.info.groups_digest,
        "rule": asked.rule,
        "wrong": repr(asked.wrong),
        "confidence": repr(asked.confidence or 0.0),
        "gallery": asked.gallery,
        "gallery_file": _gallery_state(reader, asked.gallery),
    }


def _gallery_state(reader: Reader, gallery: str) -> str:
    if address_of(gallery) is None:
        return repr(file_state(Path(gallery))) if gallery and Path(gallery).exists() else ""
    # A report asks no server.
    return reader.kept_settings(TABLE)["gallery_file"] if is_as_kept(reader) else state_of(gallery)
