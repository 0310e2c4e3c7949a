"""A PostgreSQL server of the tests' own, where its programs are installed (Debian: `apt install postgresql`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patience import limit


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "pg_ctl").exists()), None)


@contextmanager
def server(port: int) -> Iterator[str]:
    """Starts one, and yields its address; the name of a database is to follow it."""
    place = programs()
    assert place is not None
    folder = Path(tempfile.mkdtemp(prefix="continual-postgresql-"))
    prefix: list[str] = []
    if os.geteuid() == 0:  # which it refuses to run as
        shutil.chown(folder, "nobody")
        prefix = ["runuser", "-u", "nobody", "--"]
    data, options = folder / "data", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="

    def run(*command: str) -> None:
        subprocess.run([*prefix, *command], cwd="/", check=True, capture_output=True, timeout=limit(60))

    run(str(place / "initdb"), "-D", str(data), "-A", "trust", "-U", "tests", "-E", "UTF8", "--no-sync")
    run(str(place / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg://tests@127.0.0.1:{port}/"
    finally:
        run(str(place / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder)
