"""Small cases worked by hand."""

from embedshift.questions.clusters import Tree, tables


def test_height_label():
    assert tables.height_label(Tree()) == "height of the merge (ward linkage on mean cosine distance)"
