"""A machine without a network, as this process sees it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def no_network(*, loopback: bool = False) -> Iterator[list[str]]:
    """While entered, only sockets of this machine and, if `loopback`, 127.0.0.1 are reached; other tries are listed."""
    tried: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def check(name: str, host: Any) -> None:
        if not loopback or host != "127.0.0.1":
            tried.append(f"{name} {host}")
            raise OSError("no network")

    def connect_inside(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            check("connect", address[0])
        connect(self, address)

    def look_up_inside(host: Any, *arguments: Any, **settings: Any) -> Any:
        check("getaddrinfo", host)
        return look_up(host, *arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_inside)
        patch.setattr(socket, "getaddrinfo", look_up_inside)
        yield tried
