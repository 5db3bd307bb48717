"""Small cases worked by hand."""

import huggingface_hub
import pytest
import transformers

from embedshift import errors
from embedshift.encoders import trust


def test_no_remote_code():
    with trust.no_remote_code(local=True):
        assert huggingface_hub.constants.is_offline_mode()


def test_check_config():
    config = transformers.CLIPConfig(attn_implementation="owner/kernel")
    trust.check_config(config, "mine")
    assert config._attn_implementation is None


def test_check_index():
    trust.check_index(None, "mine")


def test_check_open_clip():
    with pytest.raises(
        errors.EmbedshiftError, match="mine: its configuration sets 'trust_remote_code' for the tokenizer; "
    ):
        trust.check_open_clip({"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}}, "mine")
