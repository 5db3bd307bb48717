"""A machine without a network, as this process sees it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CALLS = ("create_connection", "getaddrinfo", "gethostbyname")


@contextmanager
def no_network() -> Iterator[list[str]]:
    """While entered, nothing can be reached; what was tried is listed. Pipes and sockets of this machine are left."""
    tried: list[str] = []
    connect = socket.socket.connect

    def refuse(name: str) -> Any:
        def call(*arguments: Any, **_: Any) -> None:
            tried.append(f"{name}{arguments}")
            raise OSError("no network")

        return call

    def refuse_connect(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_UNIX:
            return connect(self, address)
        tried.append(f"connect({address})")
        raise OSError("no network")

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(socket, name, refuse(name))
        patch.setattr(socket.socket, "connect", refuse_connect)
        yield tried
