"""A frugal process gives memory back, and its children are frugal too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.jobs import frugal

CODE = """
import os
import pyarrow
from core.jobs import frugal
os.environ["MALLOC_MMAP_THRESHOLD_"] = "100000"
frugal.begin()
frugal.give_back()
names = (*frugal.SETTINGS, "ARROW_DEFAULT_MEMORY_POOL")
print([os.environ[name] for name in names], pyarrow.default_memory_pool().backend_name)
"""


def test_what_is_set_stands_and_the_rest_goes_to_this_process_and_its_children() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['1', '65536', '100000', 'system'] system"


TABLE = """
import threading
import numpy as np, psutil, pyarrow as pa
from core.jobs import frugal
frugal.share_heap()
process = psutil.Process()

def read():
    columns = {str(k): np.ones(1_000) for k in range(4_000)}
    tables = [pa.table(columns).filter(pa.array(np.ones(1_000, bool))) for _ in range(4)]
    held.append(process.memory_info().rss)

held = []
threads = [threading.Thread(target=read) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
frugal.release()
print((max(held) - process.memory_info().rss) // 1_000_000)
"""


def test_what_tables_took_is_returned_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 250, "MB; without `release` about 170, with Arrow's own heap about 100"


HEAPS = """
import ctypes, sys, threading
from core.jobs import frugal
if "share" in sys.argv:
    frugal.share_heap()
together = threading.Barrier(9)
threads = [threading.Thread(target=lambda: (bytearray(100_000), together.wait())) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.parametrize(("way", "several"), [("share", False), ("as it is", True)])
def test_threads_share_the_heap(tmp_path: Path, way: str, several: bool) -> None:
    report = tmp_path / "heaps.xml"
    environment = {name: value for name, value in os.environ.items() if name != frugal.NAME}
    subprocess.run([sys.executable, "-c", HEAPS, str(report), way], check=True, env=environment)
    assert (report.read_text().count("<heap nr=") > 1) is several
