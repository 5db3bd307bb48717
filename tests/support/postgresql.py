"""PostgreSQL of the tests: Debian's, started on a free port of this machine in a temporary folder."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LEFT_OUT = "there is no PostgreSQL with pgvector: as root, apt-get install postgresql-17 postgresql-17-pgvector"
# The server refuses to run as root.
USER = "nobody"


@dataclass(frozen=True)
class Server:
    folder: Path
    port: int
    programs: Path

    def address(self, table: str, user: str = "owner", database: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?table={table}"

    def connect(self, user: str = "owner", **given: Any) -> Any:
        import psycopg

        place = {"host": "127.0.0.1", "port": self.port, "dbname": "postgres"}
        return psycopg.connect(**{**place, **given}, user=user, autocommit=True)

    def control(self, *words: str) -> None:
        _as_user(self.programs / "pg_ctl", "-D", self.folder / "data", "-w", *words)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self.control("-l", str(self.folder / "log"), "-o", options, "start")


def programs() -> Path | None:
    """The folder of a server's programs that has pgvector, the newest there is."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name)):
        if Path(f"/usr/share/postgresql/{folder.parent.name}/extension/vector.control").exists():
            return folder
    return None


def _as_user(*command: str | Path) -> None:
    account = pwd.getpwnam(USER) if os.geteuid() == 0 else None
    other = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd="/", **other)  # type: ignore[call-overload]


@contextlib.contextmanager
def started() -> Iterator[Server]:
    """A server whose owner is `owner`; where there is none its tests are left out, and fail in CI."""
    if (found := programs()) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(LEFT_OUT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        _as_user(found / "initdb", "-D", folder / "data", "-U", "owner", "--auth=trust", "--no-sync", "-E", "UTF8")
        server = Server(folder, port, found)
        server.start()
        try:
            with server.connect() as connection:
                connection.execute("CREATE EXTENSION vector")
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                server.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
