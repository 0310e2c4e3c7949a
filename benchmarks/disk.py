"""What the state folder takes beside the rows that it holds, after many cycles on the bundled sample.

    python benchmarks/disk.py --cycles 200

The sample's rows come in so many batches of the same size, labelled, with a cycle after each. Printed in the end: what each
part of the folder takes, in bytes and in times of the rows' own Parquet files. A name for a file that another name has, too,
counts once. Exits with 1 beyond the bar.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from states import opened

BAR = 8.0


def taken(home: Path) -> Counter[str]:
    """Bytes by part: the top folder or file, and below models the learner's folder apart."""
    seen: set[int] = set()
    parts: Counter[str] = Counter()
    for path in sorted(home.rglob("*")):
        about = path.lstat()
        if not path.is_file() or about.st_ino in seen:
            continue
        seen.add(about.st_ino)
        top = path.relative_to(home).parts
        part = "models, learner" if "learner" in top else top[0]
        if top[0] == "batches":
            part = "batches, predictions" if path.name.endswith("-scores.parquet") else "batches, rows"
        parts[part] += about.st_size
    return parts


def run(home: Path, cycles: int, rows: int | None, policy: str) -> None:
    """Ingest and check, batch after batch."""
    from core.cycle import run_cycle
    from core.services.ingestion import ingest
    from core.services.projects import projects, streams
    from core.storage import mlflow_copy

    ws = opened(home, migrate=True)
    stream = streams.stream_of({"sample": "insects"})
    table = stream.frame
    size = rows or len(table) // cycles
    project = projects.create_project(
        ws, "Sample", projects.Origin(source="file"), policy=policy, by="cli", now=datetime.now(UTC)
    )
    begun = time.monotonic()
    for n in range(min(cycles, len(table) // size)):
        now = datetime.now(UTC)
        project = projects.project_by_id(ws, project.id)
        options = ingest.Options() if n else ingest.Options(target=stream.target)
        ingest.ingest_frame(
            ws, project, table.iloc[n * size : (n + 1) * size], origin=f"rows {n}", by="cli", now=now, **options
        )
        run_cycle(ws, project.id, cause="cli", now=now, by="cli")
        if n % 10 == 9:
            parts = taken(home)
            print(
                f"{n + 1} cycles, {(n + 1) * size} rows, {time.monotonic() - begun:.0f} s: "
                f"{parts.total() / parts['batches, rows']:.1f} x",
                flush=True,
            )
    mlflow_copy.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--rows", type=int, help="rows a batch (default: the sample's rows over the cycles)")
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--home", type=Path, help="an empty folder to leave the state in")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = args.home or Path(folder) / "home"
        run(home, args.cycles, args.rows, args.policy)
        parts = taken(home)
        own = parts["batches, rows"]
        for part, size in parts.most_common():
            print(f"{part:24} {size / 1e6:8.2f} MB {size / own:6.2f} x")
        ratio = parts.total() / own
        print(f"{'all':24} {parts.total() / 1e6:8.2f} MB {ratio:6.2f} x  (bar {BAR:g})")
    return int(ratio > BAR)


if __name__ == "__main__":
    sys.exit(main())
