"""Being here, this file puts `tests/` on the path: `from support.synthetic import make_study`."""
