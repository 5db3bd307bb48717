"""The table `claims`: the paper's claims in parts, as docs/paper.md explains, each tested on a study."""

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import (
    ALIGNED_DETAIL,
    ENTROPY_AUGMENTATIONS,
    Bootstrap,
    Evidence,
    gather,
    read,
)
from embedshift.questions.claims.kinds import (
    Claim,
    Correlation,
    MostAltered,
    Outlier,
    Rank,
    Test,
    alone,
    branch,
    entropy_rise,
    judge,
    more,
    order,
)
from embedshift.registry import METRICS
from embedshift.statistics.baselines import Baseline, is_scale
from embedshift.statistics.layout import ImageRows
from embedshift.statistics.sample import RESAMPLES_OF_MANY
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import baselines
from embedshift.store.reader import Reader
from embedshift.store.table import Table

COLOR = ["blur", "coarse_dropout", "color_jitter"]
GEOMETRIC = ["shift_scale_rotate", "perspective"]
LEAST = ["brightness_contrast", "horizontal_flip", "elastic"]

_EMBEDDING = {"l2_distance": "L2 distance", "cosine_similarity": "cosine similarity"}


def _except(*names: str) -> list[str]:
    return [name for name in PAPER if name not in names]


def _words(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _both(parts: tuple[str, str], statement: str, test: Callable[[str], Test]) -> Iterator[Claim]:
    for part, (metric, label) in zip(parts, _EMBEDDING.items(), strict=True):
        yield Claim(part, statement.format(label), test(metric))


def _drastic(parts: tuple[str, str], name: str, other: str) -> Iterator[Claim]:
    statement = (
        f"{name} moves the embedding more than all others except noise and {other} (mean {{}}; abstract: drastic)"
    )
    yield from _both(parts, statement, lambda metric: order(metric, [name], _except("noise", name, other)))


def paper_claims() -> Iterator[Claim]:
    yield from _both(
        ("1a", "1b"),
        "noise moves the embedding more than each of the other eight augmentations (mean {})",
        lambda metric: order(metric, ["noise"], _except("noise")),
    )
    cluster = "noise forms its own cluster and the other eight form one cluster (Ward tree, cut at 0.7 of its height)"
    yield Claim("2a", cluster, alone("noise"))
    for part, names in (("3a", GEOMETRIC), ("3b", ["blur", *GEOMETRIC])):
        statement = f"{_words(names)} form their own branch inside a larger cluster without noise (Ward tree)"
        yield Claim(part, statement, branch(names, without="noise"))
    yield from _both(
        ("4a", "4b"),
        f"{_words(LEAST)} each move the embedding less than any of the other six augmentations (mean {{}})",
        lambda metric: order(metric, _except(*LEAST), LEAST),
    )
    yield from _drastic(("5a", "5b"), "perspective", "shift_scale_rotate")
    yield from _drastic(("5c", "5d"), "shift_scale_rotate", "perspective")
    yield from _both(
        ("5e", "5f"),
        f"perspective moves the embedding less than all others except {_words(LEAST)} (mean {{}}; section 4: minimal)",
        lambda metric: order(metric, _except("perspective", *LEAST), ["perspective"]),
    )
    yield from _both(
        ("6a", "6b"),
        f"{_words(COLOR)} vary more on average than {_words(LEAST)} (standard deviation of {{}})",
        lambda metric: more(metric, COLOR, LEAST, spread=True),
    )
    yield from _both(
        ("6c", "6d"),
        f"{_words(COLOR)} move the embedding more on average than {_words(LEAST)} (mean {{}})",
        lambda metric: more(metric, COLOR, LEAST),
    )
    yield from _of_other_metrics()


def _of_other_metrics() -> Iterator[Claim]:
    detail, edge, cosine = "detail_preservation", "edge_preservation", "cosine_similarity"
    yield Claim(
        "7a",
        "detail preservation correlates with cosine similarity over all augmentations but horizontal_flip (Spearman)",
        Correlation(detail, cosine, _except("horizontal_flip")),
    )
    yield Claim(
        "7b",
        "edge preservation correlates with cosine similarity over all nine augmentations (Spearman)",
        Correlation(edge, cosine, list(PAPER)),
    )
    yield Claim(
        "7c",
        "horizontal_flip is the exception for detail preservation: its rank there is further below its rank in "
        "cosine similarity than for any other augmentation",
        Outlier(detail, cosine, "horizontal_flip"),
    )
    yield Claim(
        "8a",
        "noise changes attention maps more than each of the other eight augmentations (mean attention similarity)",
        order("attention_similarity", ["noise"], _except("noise")),
    )
    yield Claim(
        "8b",
        f"{_words(ENTROPY_AUGMENTATIONS)} each change attention maps more than all remaining augmentations except "
        "noise (mean attention similarity)",
        order("attention_similarity", ENTROPY_AUGMENTATIONS, _except("noise", *ENTROPY_AUGMENTATIONS)),
    )
    middle = [*COLOR, *GEOMETRIC]
    yield from _both(
        ("9a", "9b"),
        f"the shift decreases in this order: noise, then each of {_words(middle)}, then each of {_words(LEAST)} "
        "(smallest gap between neighbouring groups, mean {})",
        lambda metric: order(metric, ["noise"], middle, LEAST),
    )
    for part, name in zip(("10a", "10b", "10c"), ENTROPY_AUGMENTATIONS, strict=True):
        yield Claim(
            part,
            f"attention spreads out under {name}: the entropy of its map is above the original's",
            entropy_rise(name),
        )
    for part, level in (("11a", 0.1), ("11b", 0.5)):
        words = f"of all nine relative shifts of the cosine at least five are above {level}"
        yield Claim(part, f"{words} (introduction: most augmentations alter the semantics)", MostAltered(level))
    others = ("cosine_similarity", "attention_similarity", "patch_similarity", "edge_preservation")
    flip = "horizontal_flip is among the three least changed by mean performance (section 4: only the grid lowers it)"
    yield Claim("12a", f"without detail preservation, {flip}", Rank("horizontal_flip", others))
    aligned = Rank("horizontal_flip", (*others, ALIGNED_DETAIL))
    yield Claim("12b", f"with detail preservation aligned, {flip}", aligned, optional=ALIGNED_DETAIL)


def claims(
    study: ImageRows,
    augmentations: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES_OF_MANY,
    baseline: Baseline | None = None,
) -> pl.DataFrame:
    scale = baseline if baseline is not None and is_scale(baseline, METRICS[COSINE].no_change) else None
    return verdicts(gather(read(study, augmentations), scale, study.groups), seed=seed, resamples=resamples)


def verdicts(evidence: Evidence, *, seed: int, resamples: int = RESAMPLES_OF_MANY) -> pl.DataFrame:
    parts = [*paper_claims()]
    contrasts = [contrast for claim in parts for contrast in claim.test.contrasts]
    return judge(parts, Bootstrap(evidence, contrasts, seed=seed, resamples=resamples))


def claims_table(reader: Reader) -> pl.DataFrame:
    baseline = baselines(reader).get(COSINE)
    return claims(reader.image_rows, reader.augmentations, seed=reader.info.seed, baseline=baseline)


TABLES = (
    Table(
        "claims",
        claims_table,
        is_available=lambda reader: reader.info.has_pixels or not {*PAPER}.isdisjoint(reader.augmentations),
        requires="the paper's augmentations",
        settings=lambda reader: {"version": "1", "groups": reader.info.groups_digest},
        doc="One row per claim of the paper: its estimate on these images, interval, p values and verdict.",
    ),
)
