"""Small cases worked by hand."""

from pathlib import Path

import pytest

from embedshift import config, errors
from embedshift.config import processes, safe_files


def test_config_study_config_of():
    from embedshift.questions.layers import Switches

    assert repr(config.StudyConfig(switches=(Switches(layers=True),)).of(Switches)) == "Switches(layers=True)"


def test_config_make_config():
    with pytest.raises(errors.UsageError, match="draws: Input should be greater than or equal to 1"):
        config.make_config({"draws": 0})


def test_config_as_pairs():
    assert (config.as_pairs("q50"), config.as_pairs({"cdn": "re-encoded"})) == (["q50"], ["cdn=re-encoded"])


def test_attack_attack_config():
    assert config.make_attack_config({"images": ["photos"], "norm": "l2"}).eps == (1.0,)


def test_attack_make_attack_config():
    with pytest.raises(
        errors.UsageError, match="eps 0\\.5: linf counts whole pixel levels; give a whole number from 1 to 255"
    ):
        config.make_attack_config({"eps": [0.5]})


def test_safe_files_open_file():
    with pytest.raises(errors.EmbedshiftError, match="a device, not a file"):
        safe_files.open_file("/dev/null")


def test_safe_files_read_file():
    import tempfile
    from pathlib import Path

    file = Path(tempfile.mkdtemp()) / "a.txt"
    _ = file.write_bytes(b"abc")
    assert safe_files.read_file(file, 3) == b"abc"
    with pytest.raises(errors.EmbedshiftError, match="larger than 2 bytes \\(3 bytes\\)"):
        safe_files.read_file(file, 2)


def test_processes_cores():
    assert processes.cores() >= 1


def test_safe_files_read_yaml():
    import tempfile

    file = Path(tempfile.mkdtemp()) / "a.yaml"
    _ = file.write_text("night: [ISONoise, {Blur: {p: 1}}]")
    assert safe_files.read_yaml(file) == {"night": ["ISONoise", {"Blur": {"p": 1}}]}
