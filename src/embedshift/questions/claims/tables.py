"""The table `claims`: the paper's claims, each tested on the encoder and images of a study."""

import functools
from collections.abc import Sequence

import polars as pl

from embedshift.questions.claims.bootstrap import Bootstrap
from embedshift.questions.claims.evidence import Evidence, gather_groups
from embedshift.questions.claims.paper import paper_claims
from embedshift.questions.claims.reading import read
from embedshift.questions.claims.verdict import judge
from embedshift.statistics.groups import Rows, grouped
from embedshift.statistics.resamples import RESAMPLES_OF_MANY
from embedshift.store.reader import Reader
from embedshift.store.tables import Table


def claims(rows: Rows, augmentations: Sequence[str], *, seed: int, resamples: int = RESAMPLES_OF_MANY) -> pl.DataFrame:
    """Tests the paper's claims on a study's images."""
    study = grouped(rows)
    reading = functools.partial(read, augmentations=augmentations, order=study.order)
    return verdicts(gather_groups(study, reading), seed=seed, resamples=resamples)


def verdicts(evidence: Evidence, *, seed: int, resamples: int = RESAMPLES_OF_MANY) -> pl.DataFrame:
    """Tests the claims on given evidence."""
    parts = paper_claims()
    asked = [contrast for claim in parts for contrast in claim.test.contrasts]
    return judge(parts, Bootstrap(evidence, asked, seed=seed, resamples=resamples))


def of_study(reader: Reader) -> pl.DataFrame:
    """Returns the table of a study."""
    return claims(reader.groups, reader.augmentations, seed=reader.info.seed)


TABLES = (Table("claims", of_study),)
