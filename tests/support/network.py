"""A machine without a network, as this process sees it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CALLS = ("create_connection", "getaddrinfo", "gethostbyname")


@contextmanager
def no_network(*, loopback: bool = False) -> Iterator[list[str]]:
    """While entered, nothing can be reached; what was tried is listed. Pipes and sockets of this machine are left.

    Args:
        loopback: Whether 127.0.0.1 can be reached.
    """
    tried: list[str] = []
    connect = socket.socket.connect

    def is_allowed(address: Any) -> bool:
        return loopback and (address[0] if isinstance(address, tuple) else address) == "127.0.0.1"

    def refuse(name: str) -> Any:
        allowed = getattr(socket, name)

        def call(*arguments: Any, **settings: Any) -> Any:
            if is_allowed(arguments[0]):
                return allowed(*arguments, **settings)
            tried.append(f"{name}{arguments}")
            raise OSError("no network")

        return call

    def refuse_connect(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_UNIX or is_allowed(address):
            return connect(self, address)
        tried.append(f"connect({address})")
        raise OSError("no network")

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(socket, name, refuse(name))
        patch.setattr(socket.socket, "connect", refuse_connect)
        yield tried
