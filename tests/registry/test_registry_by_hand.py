"""Small cases worked by hand."""

from embedshift.registry import fingerprint as fingerprint_module


def test_fingerprint():
    assert len({fingerprint_module.fingerprint(f) for f in (lambda x: x + 1, lambda x: x + 2, lambda x: x * 2)}) == 3
