"""Fixtures that several tests share.

Being here, this file also puts `tests/` on the path: `from synthetic import make_study`.
"""
