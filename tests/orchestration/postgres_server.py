"""A PostgreSQL server of its own, on loopback, in a temporary folder.

Belongs here: finding, starting and stopping it, asking it. Does not: assertions about Isthmus.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg2

_USER, _PASSWORD = "dagster", "only on loopback"


def find_binaries() -> Path | None:
    """Give the folder of initdb and pg_ctl: on the path, or where Debian puts them."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


class PostgresServer:
    """A server with an empty database.

    Args:
        binaries: folder of initdb and pg_ctl.
    """

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # not below pytest's folder: that belongs to root alone where tests run as root, and the server refuses root
        self._folder = Path(tempfile.mkdtemp(prefix="isthmus-postgres-"))
        self._account = _find_account()
        if self._account is not None:
            shutil.chown(self._folder, self._account)
        self.port = _find_free_port()
        password = self._folder / "password"
        password.write_text(_PASSWORD)
        self._call("initdb", "--username", _USER, "--pwfile", str(password), "--auth", "scram-sha-256", "--no-sync")
        self.start()
        self.query("select 1")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        self._call("pg_ctl", "start", "--wait", "--log", str(self._folder / "log"), "--options", options)

    def stop(self) -> None:
        """Stop the server as a machine that goes down would: at once, nothing tidied."""
        self._call("pg_ctl", "stop", "--wait", "--mode", "immediate")

    def remove(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self._folder)

    def environment(self) -> dict[str, str]:
        """Give the variables that docs/deploy/postgres/dagster.yaml reads."""
        return {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_DB": "postgres",
            "DAGSTER_PG_USERNAME": _USER,
            "DAGSTER_PG_PASSWORD": _PASSWORD,
        }

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Ask the server itself, past Dagster."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=_USER, password=_PASSWORD, dbname="postgres"
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "--pgdata", str(self._folder / "data"), *arguments]
        # standard streams that the server inherits would keep a waiting pipe open
        with (self._folder / "calls").open("a") as log:
            done = subprocess.run(command, user=self._account, cwd=self._folder, stdout=log, stderr=log, check=False)
        assert done.returncode == 0, (self._folder / "calls").read_text()


def _find_account() -> str | None:
    """Name the account to run as: root may not; anybody else is fine as is."""
    if os.geteuid() != 0:
        return None
    names = [account.pw_name for account in pwd.getpwall()]
    return "postgres" if "postgres" in names else "nobody"


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
