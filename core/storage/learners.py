"""The learner's state in store: one JSON document a cycle, and each estimator that it names written once.

An estimator's name stands for the same fitted model for ever, so a cycle writes only what it fitted anew.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StorageError
from core.storage import artefacts
from core.storage.batches import write_durably
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    from core.learning.state import LearnerState

KEPT_ESTIMATORS = 64  # in memory, for the worker that runs cycle after cycle


def save(ws: Workspace, project_id: int, cycle_id: int, state: LearnerState) -> str:
    """Store a state; returns its path below the models' folder. It counts once a project's row names it."""
    document, estimators = state.to_parts()
    folder = f"p{project_id}/learner"
    for key, estimator in estimators.items():
        place = ws.models_path / folder / f"{key}.skops"
        if not place.exists():
            write_durably(place, artefacts.dumps(estimator))
    path = f"{folder}/cycle-{cycle_id}.json"
    write_durably(ws.models_path / path, json.dumps({"state": document, "estimators": sorted(estimators)}).encode())
    return path


def load(ws: Workspace, path: str) -> LearnerState:
    """The state stored under that path.

    Raises:
        StorageError: a file is missing or damaged.
    """
    from core.learning.state import LearnerState

    place = ws.models_path / path
    try:
        stored = json.loads(place.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise StorageError(f"The learner's state {path} is missing or damaged. Restore it from a backup.") from error
    estimators = {key: _estimator(place.parent / f"{key}.skops") for key in stored["estimators"]}
    return LearnerState.from_parts(stored["state"], estimators)


@lru_cache(maxsize=KEPT_ESTIMATORS)
def _estimator(place: Path) -> Any:
    return artefacts.loads_file(place)


def drop_old(ws: Workspace, project_id: int, *, keep: str) -> None:
    """Delete the states before `keep` and the estimators that only they name."""
    folder = ws.models_path / f"p{project_id}/learner"
    kept = set(json.loads((ws.models_path / keep).read_text())["estimators"])
    for place in folder.iterdir():
        stale = place.suffix == ".json" and place.name != Path(keep).name
        if stale or (place.suffix == ".skops" and place.stem not in kept):
            place.unlink(missing_ok=True)
