"""The lines of progress without a terminal: images done, their rate and the time left."""

import logging
import re
import time
from types import SimpleNamespace

import pytest

from embedshift.cli import terminal

START = {"done": 4, "images": 24, "state": "resumed", "out": "study", "skipped": {}, "note": str}


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the lines see."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_the_first_step_is_said_at_once_and_silence_is_broken(monkeypatch, caplog):
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "embedshift")
    with terminal.repeating("reading libraries"):
        assert caplog.messages[0] == "reading libraries"
        while len(caplog.messages) < 4:
            time.sleep(0.01)
    count = len(caplog.messages)
    assert all(re.fullmatch(r"still at work, \d+ s", line) for line in caplog.messages[1:])
    time.sleep(0.5)
    assert len(caplog.messages) <= count + 1  # it ends with the block


def test_no_line_has_a_rate_before_an_image_is_measured(clock, caplog):
    caplog.set_level(logging.INFO, "embedshift")
    with terminal.progress(False) as (on_start, step):
        on_start(SimpleNamespace(**START))
        clock.seconds += 60
        step(0)  # as a device's process says that its encoder is loaded
        assert len(caplog.messages) == 3
        clock.seconds += 60
        step(10)
    assert caplog.messages[-1] == "14 of 24 images, 12.0 s/image, 120 s left"
