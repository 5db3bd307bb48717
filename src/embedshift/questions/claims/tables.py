"""The table `claims`: the paper's claims, each tested on the encoder and images of a study."""

import functools
from collections.abc import Sequence

import polars as pl

from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.contrasts import Bootstrap
from embedshift.questions.claims.evidence import Evidence, gather, read
from embedshift.questions.claims.kinds import judge
from embedshift.questions.claims.paper import paper_claims
from embedshift.registry import METRICS
from embedshift.statistics.baselines import Baseline, is_scale
from embedshift.statistics.layout import Rows, image_rows
from embedshift.statistics.sample import RESAMPLES_OF_MANY
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import baselines
from embedshift.store.reader import Reader
from embedshift.store.table import Table


def claims(
    rows: Rows,
    augmentations: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES_OF_MANY,
    baseline: Baseline | None = None,
) -> pl.DataFrame:
    """Tests the paper's claims on a study's images; those on relative shifts need the baseline of the cosine."""
    reading = functools.partial(read, augmentations=augmentations)
    scale = baseline if baseline is not None and is_scale(baseline, METRICS[COSINE].no_change) else None
    return verdicts(gather(image_rows(rows), reading, scale), seed=seed, resamples=resamples)


def verdicts(evidence: Evidence, *, seed: int, resamples: int = RESAMPLES_OF_MANY) -> pl.DataFrame:
    parts = paper_claims()
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
        doc="One row per claim of the paper: its estimate on these images, interval, p values and verdict.",
    ),
)
