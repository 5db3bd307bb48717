"""Which texts heads cannot be named by."""

import pytest

from embedshift.errors import UsageError
from embedshift.questions.heads.observe import read_bank


def test_texts_are_each_there_once_and_printable(tmp_path):
    file = tmp_path / "bank.txt"
    file.write_text("a cat\n\n  a dog \na cat\n", encoding="utf-8")
    assert read_bank(str(file)) == ("a cat", "a dog")
    file.write_text("a cat\na \x1b[31mdog\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"bank\.txt: 'a \\x1b\[31mdog' contains characters that cannot be printed"):
        read_bank(str(file))
    file.write_text("a cat\na cat\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"has 1 texts, one per line; it must have 2 to 10,000"):
        read_bank(str(file))
