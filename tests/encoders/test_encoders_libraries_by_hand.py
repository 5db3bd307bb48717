"""Small cases worked by hand."""

from embedshift.encoders import libraries


def test_name_of():
    assert (libraries.name_of("timm", "vit_tiny_patch16_224"), libraries.name_of("timm", "local-dir:models/mine")) == (
        "timm:vit_tiny_patch16_224",
        "mine",
    )
