"""Small cases worked by hand."""

from embedshift.encoders import families


def test_family_of():
    assert (families.family_of("blip", ["BlipForQuestionAnswering"]).title, families.family_of("bert")) == (
        "BLIP, captions and questions",
        None,
    )
