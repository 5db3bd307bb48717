"""Small cases worked by hand."""

import pytest

from embedshift import encoders, errors


def test_check_name():
    with pytest.raises(errors.UsageError, match="models/mine/last: no such folder"):
        encoders.check_name("models/mine/last")


def test_load_text_encoder():
    with pytest.raises(
        errors.UsageError, match="dinov2\\-small\\-offline has no text tower: texts need a vision\\-language model \\."
    ):
        encoders.load_text_encoder("dinov2-small-offline")
