"""The gate: checks a study against rules before its encoder goes into production."""

from embedshift.study.gate.check import Checked, Result, check
from embedshift.study.gate.proposal import propose

__all__ = ["Checked", "Result", "check", "propose"]
