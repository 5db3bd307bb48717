"""The paired comparison of studies: what differs between encoders on the same images and views, with intervals.

`compare` shows what the files here find, and rules of `check` are judged by it. Another number of a comparison is one
more function of `PairedStudies` that returns an `Estimate`.
"""

from embedshift.study.paired.estimate import Estimate
from embedshift.study.paired.studies import PairedStudies, pair_studies

__all__ = ["Estimate", "PairedStudies", "pair_studies"]
