"""The gate: checks a study against rules before its encoder goes into production."""

from embedshift.study.gate.check import check, record_rules
from embedshift.study.gate.proposal import propose
from embedshift.study.gate.result import Checked, Result

__all__ = ["Checked", "Result", "check", "propose", "record_rules"]
