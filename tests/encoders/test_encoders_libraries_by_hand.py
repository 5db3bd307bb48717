"""Small cases worked by hand."""

from embedshift.encoders import libraries


def test_name_of():
    assert (
        libraries.display_name("timm", "vit_tiny_patch16_224"),
        libraries.display_name("timm", "local-dir:models/mine"),
    ) == (
        "timm:vit_tiny_patch16_224",
        "mine",
    )
