"""The gate: rules that a study keeps or breaks, on the way of an encoder into production."""

from embedshift.study.gate.check import Checked, Result, check
from embedshift.study.gate.proposal import propose

__all__ = ["Checked", "Result", "check", "propose"]
