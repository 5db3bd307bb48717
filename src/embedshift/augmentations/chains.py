"""Chains: several augmentations of a suite in an order, given in a file or drawn; and those that a study measured."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.augmentations.augmentation import Augmentation, Chain
from embedshift.augmentations.suite import Suite
from embedshift.config import Json
from embedshift.config.safe_files import expanded, read_yaml
from embedshift.errors import UsageError
from embedshift.registry import unknown_name

# Between the names of the parts in the name of a chain.
THEN = "_then_"


def with_chains(suite: Suite, chains: str | None, seed: int) -> Suite:
    """Returns a suite and chains of its augmentations.

    Args:
        suite: The augmentations that chains are made of; they stay first.
        chains: A YAML file, a list with a list of names for each chain; or how many pairs of augmentations of different
            families to draw, each in an order of its own. None = none.
        seed: Decides the pairs that are drawn.

    Raises:
        UsageError: The file cannot be read, names an augmentation that the suite lacks, or there are fewer pairs.
    """
    if chains is None:
        return suite
    found = _drawn(suite, int(chains), seed) if chains.isdecimal() else _read(suite, expanded(chains))
    made = [Augmentation(THEN.join(parts), Chain(tuple(suite[part] for part in parts))) for parts in found]
    return Suite([*suite, *made], is_custom=suite.is_custom)


def _read(suite: Suite, file: Path) -> list[tuple[str, ...]]:
    content = read_yaml(file)
    if not isinstance(content, list) or not content:
        raise UsageError(f"{file}: give at least one chain, such as '- [messenger, screenshot]'")
    for number, parts in enumerate(content, start=1):
        if not isinstance(parts, list) or len(parts) < 2 or not all(isinstance(part, str) for part in parts):
            raise UsageError(f"{file}, chain {number}: give two augmentations or more, such as [messenger, screenshot]")
        if unknown := [part for part in parts if part not in suite]:
            words = unknown_name("augmentation of this study", unknown[0], suite.names)
            raise UsageError(f"{file}, chain {number}: {words}")
    return [tuple(parts) for parts in content]


def _drawn(suite: Suite, count: int, seed: int) -> list[tuple[str, ...]]:
    families = {each.name: each.level.family if each.level else each.name for each in suite}
    pairs = [pair for pair in itertools.permutations(suite.names, 2) if families[pair[0]] != families[pair[1]]]
    if not pairs:
        raise UsageError("`chains` needs two augmentations or more, of different families")
    if not 1 <= count <= len(pairs):
        raise UsageError(
            f"`chains` {count}: give 1 to {len(pairs):,}, the pairs of these augmentations, or a YAML file"
        )
    chosen = np.random.default_rng(seed).choice(len(pairs), count, replace=False)
    return [pairs[place] for place in chosen]


def chains_of(described: Mapping[str, Json]) -> dict[str, tuple[str, ...]]:
    """Returns the chains among augmentations, each with its parts in their order.

    A chain is a pipeline whose steps are also measured alone, or without a description (vectors) one of that name.

    Args:
        described: Name → `Augmentation.describe()`, as `study.json` stores it.

    Example:
        >>> chains_of({"blur": {}, "dark": {}, "blur_then_dark": {}, "blur_then_noise": {}})
        {'blur_then_dark': ('blur', 'dark')}
    """
    found = {name: _parts(name, entry, described) for name, entry in described.items()}
    return {name: tuple(parts) for name, parts in found.items() if len(parts) > 1}


def _parts(name: str, entry: Mapping[str, Any], described: Mapping[str, Json]) -> Sequence[str]:
    if "steps" not in entry:
        parts = name.split(THEN)
        return parts if all(part in described for part in parts) else ()
    steps = [(step["name"], {key: value for key, value in step.items() if key != "name"}) for step in entry["steps"]]
    parts = [next((each for each in (own, *described) if described.get(each) == step), "") for own, step in steps]
    return parts if all(parts) else ()
