"""The one loader of YAML: nothing in a file runs, repeats itself, or is silently dropped; every fault is one line."""

from pathlib import Path

import pytest
import yaml

from embedshift import EmbedshiftError
from embedshift.augmentations import load_suite
from embedshift.config import read_config
from embedshift.config.safe_files import YAML_BYTES, YAML_DEPTH, YAML_TEXT, read_yaml

SOURCES = Path(__file__).parents[2] / "src" / "embedshift"
PLAIN = """
night:  # a comment
  - Blur: {blur_limit: [3, 5], p: 0.5}
  - {a: null, b: true, c: 1.5, "d e": 'x: y'}
other: |
  two
  lines
"""


def bomb(of: int = 9) -> str:
    """Nine lists of nine of the one before: some hundred characters that stand for 9 ** 9 texts."""
    lines = [f"a0: &a0 [{', '.join(['x'] * of)}]"]
    return "\n".join(lines + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * of)}]" for i in range(1, of)] + ["end: Blur"])


def test_plain_values_are_what_pyyaml_s_safe_loader_makes_of_them(tmp_path):
    file = tmp_path / "a.yaml"
    for text in (
        PLAIN,
        "",
        "[1, [2, {a: b}]]",
        "\ufeffa: 1",
        "a: 2026-11-26",
        "a: '1:30'",
        "a: 1:75",
        "a: b:30",
        "'<<': {a: 1}",
        '{"json": [1, 2]}',
    ):
        file.write_text(text, encoding="utf-8")
        assert read_yaml(file) == yaml.safe_load(text)


REFUSED = {
    "a: !!python/object/apply:os.system ['touch ran']": "the tag !!python/object/apply:os.system is not allowed",
    "a: 1\nb: !!python/name:os.system": "line 2: the tag !!python/name:os.system is not allowed",
    "seed: 1:30": "line 1: 1:30 is a number to the base 60 in YAML; write a plain number, or put it in quotes",
    "at_most: 010": "line 1: 010 is a number to the base 8 in YAML; write a plain number, or put it in quotes",
    "a: [-12_0:5:59.5]": "line 1: -12_0:5:59.5 is a number to the base 60",
    "a: !own 1": "line 1: the tag !own is not allowed",
    "a: !!set {x}": "line 1: the tag !!set is not allowed",
    bomb(): "line 1: anchors and aliases .* are not allowed",
    "a: &x 1": "line 1: anchors and aliases",
    "a: *x": "line 1: anchors and aliases",
    "a: 1\n\na: 2": "line 3: 'a' appears twice",
    "x: [{b: 1, b: 1}]": "line 1: 'b' appears twice",
    "<<: {a: 1}": "line 1: '<<' is not allowed",
    "[" * (YAML_DEPTH + 1) + "]" * (YAML_DEPTH + 1): "line 1: nested deeper than 20",
    "[" * 100_000: "nest",
    "a: " + "9" * (YAML_TEXT + 1): "line 1: a text of more than 3,500 characters",
    "a: 0x" + "f" * YAML_TEXT: "line 1: a text of more than 3,500",
    "a: 1" + ":1" * 1000 + ".5": "is a number to the base 60",
    "a: 2026-02-30": r"not YAML \(ValueError: day",
    "a: [3": r"not YAML \(line",
    "a: b: c": r"not YAML \(line 1",
    "a: 1\n---\nb: 2": "not YAML",
    "{[a]: 1}": r"not YAML \(line 1: found unhashable key",
    "a: \x00": "not YAML",
    "#" * (YAML_BYTES + 1): "larger than 256 kB",
    b"\xff\xfe\x00": "not text in UTF-8",
    bytes(range(256)) * 9: "not text in UTF-8",
}


@pytest.mark.parametrize("content", REFUSED, ids=lambda content: str(content[:20]))
def test_what_is_not_plain_is_refused_in_one_line(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_yaml, read_config, load_suite):
        with pytest.raises(EmbedshiftError, match=REFUSED[content]) as caught:
            read(file)
        assert caught.value.exit_code == 2
        assert str(caught.value).startswith(f"{file}: ")
        assert len(str(caught.value)) < len(str(file)) + 200
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"], "nothing ran"


def test_the_largest_file_and_the_deepest_are_read(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("[" * YAML_DEPTH + "]" * YAML_DEPTH)
    assert str(read_yaml(file)) == "[" * YAML_DEPTH + "]" * YAML_DEPTH
    file.write_text("#" * (YAML_BYTES - 5) + "\na: 1")
    assert read_yaml(file) == {"a": 1}


def test_what_is_no_file_is_one_line(tmp_path):
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "gone.yml", "No such file")):
        with pytest.raises(EmbedshiftError, match=f"{path}: {words}"):
            load_suite(path)


def test_nothing_else_in_the_package_loads_yaml():
    asking = [path.name for path in SOURCES.rglob("*.py") if "import yaml" in path.read_text()]
    assert asking == ["safe_files.py"]
