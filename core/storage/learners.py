"""The learner's state in store: one JSON document a cycle, and each estimator that it names written once.

An estimator's name stands for the same fitted model for ever, so a cycle writes only what it fitted itself.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Damaged, StorageError
from core.records import JsonObject
from core.storage import artefacts
from core.storage.batches import CHANGED, MISSING, verify, write_durably
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    from core.learning.state import LearnerState

STATE = "the learner's state"
KEPT_ESTIMATORS = 64  # in memory, for the worker that runs cycle after cycle


def save(ws: Workspace, project_id: int, cycle_id: int, state: LearnerState) -> str:
    """Store a state; returns its path below the models' folder. It counts once a project's row names it.

    The document holds its own digest and those of its estimators: no row does.
    """
    document, estimators = state.to_parts()
    folder = f"p{project_id}/learner"
    stored = _digests(ws.models_path / folder)
    digests = {}
    for key, estimator in sorted(estimators.items()):
        place = ws.models_path / folder / f"{key}.skops"
        known = stored.get(key)
        if known is None or not _is_whole(place, known):
            data = artefacts.dumps(estimator)
            write_durably(place, data)
            known = hashlib.sha256(data).hexdigest()
        digests[key] = known
    path = f"{folder}/cycle-{cycle_id}.json"
    parts = json.loads(json.dumps({"state": document, "estimators": digests}))  # as it is read
    write_durably(ws.models_path / path, json.dumps({**parts, "sha256": _digest(parts)}).encode())
    return path


def _digest(parts: JsonObject) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_whole(place: Path, sha256: str) -> bool:
    try:
        verify(place, sha256, what="an estimator of the learner")
    except StorageError:
        return False
    return True


def _digests(folder: Path) -> dict[str, str]:
    """Digests of the estimators that the states in a folder name; those of an earlier version of this program name none."""
    found: dict[str, str] = {}
    for place in sorted(folder.glob("cycle-*.json")):
        try:
            named = json.loads(place.read_text())["estimators"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(named, dict):
            found.update(named)
    return found


def load(ws: Workspace, path: str) -> LearnerState:
    """The state stored under that path.

    Raises:
        Damaged: a file is missing, or not as it was written.
        StorageError: a file cannot be read now.
    """
    from core.learning.state import LearnerState

    stored = check(ws, path)
    place = ws.models_path / path
    try:
        estimators = {key: _estimator(place.parent / f"{key}.skops") for key in stored["estimators"]}
        return LearnerState.from_parts(stored["state"], estimators)
    except Damaged:
        raise
    except (StorageError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(STATE, path, f"cannot be taken up ({type(error).__name__})") from error


def check(ws: Workspace, path: str, *, reread: bool = False) -> JsonObject:
    """The document of a stored state, verified together with the estimators that it names; errors as in `load`."""
    place = ws.models_path / path
    try:
        stored = json.loads(artefacts.read_bytes(place, what=STATE))
        named = stored["estimators"]
        recorded = stored.get("sha256")
        whole = recorded is None or recorded == _digest({"state": stored["state"], "estimators": named})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(STATE, path, f"cannot be read ({type(error).__name__})") from error
    if not whole:
        raise Damaged(STATE, path, CHANGED)
    for key in named:
        part = place.parent / f"{key}.skops"
        if isinstance(named, dict):
            verify(part, named[key], what=f"{STATE} (an estimator)", name=part.name, reread=reread)
        elif not part.is_file():  # as an earlier version of this program wrote it, without digests
            raise Damaged(f"{STATE} (an estimator)", part.name, MISSING)
    return dict(stored)


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
