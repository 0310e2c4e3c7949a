"""A frugal process gives memory back, and its children are frugal too."""

from __future__ import annotations

import subprocess
import sys

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
