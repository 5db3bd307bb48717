"""The content of `embedshift list`; each kind is imported when it is listed, to keep the others fast."""

from collections.abc import Callable, Iterator
from pathlib import Path

from embedshift.registry import questions


def _encoders() -> Iterator[tuple[str, str]]:
    from embedshift.encoders import ENCODERS, FAMILIES, OTHERS, TITLES

    for name in ENCODERS:
        title = TITLES.get(name)
        yield name, f"bundled (extra 'offline'): {title}" if title else "from another package"
    for family in FAMILIES:
        yield family.example, family.summary
    yield from OTHERS.items()


def _augmentations() -> Iterator[tuple[str, str]]:
    from embedshift.augmentations import SUITES, VIEWS, Choice
    from embedshift.augmentations.family import FAMILIES

    for name in SUITES:
        suite = () if name in VIEWS else SUITES[name](Choice())
        words = VIEWS.get(name) or {view.name: view.description for view in suite if not view.grade}
        families = (FAMILIES[family] for family in dict.fromkeys(view.grade.family for view in suite if view.grade))
        yield name, f"{len(words) or len(suite)} views"
        yield from ((f"  {family.name}", family.description(*family.levels)) for family in families)
        yield from ((f"  {view}", description) for view, description in words.items())


def _metrics() -> Iterator[tuple[str, str]]:
    from embedshift.registry import METRICS

    for name in METRICS:
        metric = METRICS[name]
        better = "closer" if metric.low < metric.no_change < metric.high else "lower"
        better = "higher" if metric.higher_is_better else better
        off = f" Off by default (`{metric.asked_by}`)." if metric.optional else ""
        yield name, f"[{metric.needs}] {metric.summary} No change = {metric.no_change:g}; {better} = less change.{off}"


def _figures() -> Iterator[tuple[str, str]]:
    declared = {name: entry for question in questions() for name, entry in question.figures.items()}
    for name, (number, title) in sorted(declared.items(), key=lambda pair: pair[1]):
        yield name, f"[{number.lstrip('0')}] {title}"


def _questions() -> Iterator[tuple[str, str]]:
    for question in questions():
        yield question.name, question.sentence


def descriptions(folder: Path) -> Iterator[str]:
    from embedshift.store.info import read_info

    known = read_info(folder).descriptions
    yield from (f"{name:{max(map(len, known))}}  {words}" for name, words in known.items())


LISTS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "encoders": _encoders,
    "augmentations": _augmentations,
    "metrics": _metrics,
    "figures": _figures,
    "questions": _questions,
}
