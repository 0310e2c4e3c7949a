"""A project's stored rows as frames: batches read back, with later labels joined in.

Frames carry the features in schema order, `_id`, `_time` and the target under its own name (None where the
label has not come). Predictions made before the label was known lie in a second file, row for row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loguru import logger

from core.errors import Damaged
from core.records import ROW_ID, ROW_TIME, FeatureSchema
from core.records import Label as LabelValue
from core.storage import queries
from core.storage.tables import Batch, BatchIds
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PREDICTION = "prediction"
PROBABILITY = "p:"  # + JSON of the class
VERSION = "version"
FEW_LABELS = 20_000  # up to so many a reader holds in memory; of more, it looks up those of each batch it reads
_MADE = re.compile(r"b(\d+)-(\d+)")  # an id that was made: the batch's number, and the row's place in it
KEYS_PER_BATCH = 1 << 32  # a row's key is its batch's id times this, plus its place: it never changes


@dataclass(frozen=True, slots=True)
class Scores:
    """Stored predictions of one batch, row for row."""

    labels: np.ndarray  # object: class, number, or None where no prediction was made in time
    probabilities: np.ndarray | None  # (n, K), NaN rows where there is none
    classes: tuple[LabelValue, ...]
    versions: np.ndarray  # model version, 0 where there is none


def encode_target(values: Any, task: str) -> pd.Series:
    """Target column as it is stored: JSON text of the class, or a float; missing stays missing."""
    import numpy as np
    import pandas as pd

    if task == "regression":
        return pd.Series(np.asarray(values, dtype=float))
    return pd.Series([None if v is None or v != v else json.dumps(v) for v in values], dtype="str")


def decode_target(column: pd.Series, task: str) -> np.ndarray:
    """The stored target column as classes (object, None = missing) or floats (NaN = missing)."""
    import numpy as np

    if task == "regression":
        return np.array(column, dtype=float)  # a copy: later labels are written into it
    known: dict[Any, Any] = {text: json.loads(text) for text in column.dropna().unique()}
    out = np.empty(len(column), dtype=object)
    out[:] = [known.get(v) if isinstance(v, str) else None for v in column]
    return out


def is_labelled(y: np.ndarray, task: str) -> np.ndarray:
    """Mask of the rows that have a label."""
    import numpy as np

    return ~np.isnan(y) if task == "regression" else np.array([v is not None for v in y], dtype=bool)


def is_set_aside(batch: Batch) -> bool:
    """Whether a champion could not answer the batch's rows: they are stored, and neither measured nor learnt from."""
    return batch.scores_path is None and batch.scored_by is not None


def read_rows(
    ws: Workspace, batch: Batch, columns: Sequence[str] | None = None, *, last: int | None = None
) -> pd.DataFrame:
    """Stored rows of a batch as they lie in its file, or some columns, or the last ones; Damaged names batch and file."""
    return ws.batches.read_frame(batch.path, columns, sha256=batch.sha256, what=f"batch {batch.number}", last=last)


class History:
    """Reads of one project's rows; late labels are looked up once, when it is opened."""

    def __init__(self, ws: Workspace, project_id: int, schema: FeatureSchema) -> None:
        self._ws = ws
        self._project_id = project_id
        self.schema = schema
        self.damaged: dict[int, Damaged] = {}  # by batch number: what was left out because it cannot be read
        with ws.database.read() as session:
            self.batches = queries.stored_batches(session, project_id)
            self._has_late = queries.has_labels(session, project_id)
            # Few are loaded at once; of many, those of each batch that is read.
            few = self._has_late and queries.label_count(session, project_id, at_most=FEW_LABELS) < FEW_LABELS
            self._late = queries.labels_by_row(session, project_id) if few else None

    @property
    def measured(self) -> list[Batch]:
        """The batches whose rows are measured and learnt from, newest first."""
        return [b for b in self.batches if not is_set_aside(b)]

    @property
    def has_late_labels(self) -> bool:
        """Whether any label was sent by row id."""
        return self._has_late

    def frame(
        self, batch: Batch, *, features: Sequence[str] | None = None, last: int | None = None
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Rows of one batch, or its last ones: (`_id`, `_time` and features), and the labels as known now."""
        import numpy as np

        names = list(self.schema.names if features is None else features)
        table = read_rows(self._ws, batch, [ROW_ID, ROW_TIME, *names, self.schema.target], last=last)
        y = decode_target(table.pop(self.schema.target), self.schema.task)
        if self._has_late:
            known = self._labels_of(table[ROW_ID].tolist())
            late = [known.get(row_id) for row_id in table[ROW_ID]]
            at = np.array([i for i, label in enumerate(late) if label is not None], dtype=int)
            if len(at):
                y[at] = [label[0] for label in late if label is not None]
        return table, y

    def frame_or_none(
        self, batch: Batch, *, features: Sequence[str] | None = None, last: int | None = None
    ) -> tuple[pd.DataFrame, np.ndarray] | None:
        """As `frame`; None where the file is missing or damaged, which `damaged` records."""
        try:
            return self.frame(batch, features=features, last=last)
        except Damaged as error:
            self.note(batch, error)
            return None

    def _labels_of(self, row_ids: Sequence[str]) -> Mapping[str, tuple[LabelValue, int, datetime]]:
        if self._late is not None:
            return self._late
        with self._ws.database.read() as session:
            return queries.labels_by_row(session, self._project_id, row_ids)

    def own_labels(self, batch: Batch) -> np.ndarray:
        """The labels that arrived with a batch's rows, without later ones."""
        table = read_rows(self._ws, batch, [self.schema.target])
        return decode_target(table[self.schema.target], self.schema.task)

    def scores(self, batch: Batch, *, last: int | None = None) -> Scores | None:
        """Predictions of one batch made before its labels were known; None when no model was there to make them.

        Damaged ones count as never made; `damaged` records them.
        """
        if batch.scores_path is None:
            return None
        try:
            return read_scores(self._ws, batch, last=last)
        except Damaged as error:
            self.note(batch, error)
            return None

    def note(self, batch: Batch, error: Damaged) -> None:
        """Remember that something of a batch cannot be read and is left out."""
        if batch.number not in self.damaged:
            self.damaged[batch.number] = error
            logger.warning("{error}", error=str(error))

    def newest(
        self, n: int | None, *, labelled: bool = True, features: Sequence[str] | None = None, measured: bool = False
    ) -> tuple[pd.DataFrame, np.ndarray, list[int]]:
        """The newest n rows in stream order, their labels, and their batches; the index holds row keys.

        Batches that cannot be read are left out; `damaged` records them.

        Args:
            n: None = all.
            labelled: only rows whose label is known.
            measured: only of batches that are not set aside.
        """
        import numpy as np
        import pandas as pd

        frames: list[pd.DataFrame] = []
        labels: list[np.ndarray] = []
        used: list[int] = []
        found = 0
        for batch in self.measured if measured else self.batches:
            if n is not None and found >= n:
                break
            if labelled and batch.labelled == 0 and not self._has_late:
                continue
            whole = not labelled or batch.labelled == batch.rows  # each row counts: the last ones will do
            read = self.frame_or_none(batch, features=features, last=n - found if n is not None and whole else None)
            if read is None:
                continue
            table, y = read
            table.index = keys_of(batch, np.arange(batch.rows - len(table), batch.rows))
            if labelled:
                mask = is_labelled(y, self.schema.task)
                table, y = table[mask], y[mask]
            if not len(table):
                continue
            if n is not None and found + len(table) > n:
                table, y = table.iloc[found + len(table) - n :], y[found + len(y) - n :]
            frames.append(table)
            labels.append(y)
            used.append(batch.id)
            found += len(table)
        if not frames:
            empty = pd.DataFrame(columns=[ROW_ID, ROW_TIME, *(self.schema.names if features is None else features)])
            return empty, np.empty(0, dtype=float if self.schema.task == "regression" else object), []
        return pd.concat(frames[::-1]), np.concatenate(labels[::-1]), used[::-1]

    def find(self, row_ids: set[str]) -> dict[int, list[int]]:
        """Where rows lie: batch id -> positions. Ids that no batch holds are left out."""
        own = {b.id for b in self.batches}
        places = locate(self._ws, self._project_id, row_ids, note=self.note)
        return {batch.id: at for batch, at in places if batch.id in own}


def locate(
    ws: Workspace, project_id: int, row_ids: set[str], *, note: Callable[[Batch, Damaged], None] | None = None
) -> list[tuple[Batch, list[int]]]:
    """The batches that count and hold some of these rows, newest first, and the rows' positions in each.

    Only these batches are read, however many there are. One that cannot be read is left out, and passed to `note`.
    """
    import numpy as np

    note = note or _warn
    made: dict[int, list[tuple[str, int]]] = {}  # by batch number
    for row_id in row_ids:
        found = _MADE.fullmatch(row_id)
        if found:
            made.setdefault(int(found[1]), []).append((row_id, int(found[2])))
    left = set(row_ids)
    places: dict[int, list[int]] = {}
    with ws.database.read() as session:
        for batch in queries.made_batches(session, project_id, list(made)):
            for row_id, place in made[batch.number]:
                if place < batch.rows:
                    places.setdefault(batch.id, []).append(place)
                    left.discard(row_id)
    may_hold = _that_may_hold(ws, project_id, left, note) if left else set()
    with ws.database.read() as session:
        batches = queries.stored_batches(session, project_id, only=may_hold | set(places))
    for batch in batches:
        if not left or batch.id not in may_hold:
            continue
        try:
            ids = read_rows(ws, batch, [ROW_ID])[ROW_ID]
        except Damaged as error:
            note(batch, error)
            continue
        at = np.flatnonzero(ids.isin(left).to_numpy())
        if len(at):
            places[batch.id] = at.tolist()
            left.difference_update(ids.iloc[at])
    return [(batch, sorted(places[batch.id])) for batch in batches if batch.id in places]


def _warn(_batch: Batch, error: Damaged) -> None:
    logger.warning("{error}", error=str(error))


def _that_may_hold(
    ws: Workspace, project_id: int, row_ids: set[str], note: Callable[[Batch, Damaged], None]
) -> set[int]:
    """Batches of the sender's own ids among whose hashes is one of these ids'."""
    import numpy as np

    wanted = hashed(sorted(row_ids))
    beginnings = np.zeros(1 << 16, dtype=bool)  # one look-up rules out nearly every hash
    beginnings[_beginnings(wanted)] = True
    found: set[int] = set()
    lacking: list[int] = []
    with ws.database.read() as session:
        for some in queries.id_hashes(session, project_id):
            stored = [(batch_id, kept) for batch_id, kept in some if kept is not None]
            lacking += [batch_id for batch_id, kept in some if kept is None]
            hashes = np.frombuffer(b"".join(kept for _, kept in stored), dtype="<u8")
            at = np.flatnonzero(beginnings.take(_beginnings(hashes)))
            at = at[np.isin(hashes[at], wanted)]
            if len(at):
                ends = np.cumsum([len(kept) // hashes.itemsize for _, kept in stored])
                found.update(stored[k][0] for k in np.unique(np.searchsorted(ends, at, side="right")))
        unhashed = queries.with_own_ids(session, lacking)
    found.update(batch.id for batch in unhashed if _keep_hashes(ws, batch, note))
    return found


def _beginnings(hashes: np.ndarray) -> np.ndarray:
    """The first sixteen bits of each hash."""
    return hashes.view("<u2")[3::4]


def _keep_hashes(ws: Workspace, batch: Batch, note: Callable[[Batch, Damaged], None]) -> bool:
    """Hash the row ids of a batch for which an earlier version stored none; whether they could be read."""
    try:
        ids = read_rows(ws, batch, [ROW_ID])[ROW_ID].tolist()
    except Damaged as error:
        note(batch, error)
        return False
    with ws.database.write() as session:
        session.merge(BatchIds(batch_id=batch.id, hashes=hashed(ids).tobytes()))
    return True


def hashed(row_ids: Sequence[str]) -> np.ndarray:
    """A 64-bit hash of each row id, the same in every process."""
    import numpy as np
    import pandas as pd

    return pd.util.hash_array(np.array(row_ids, dtype=object), categorize=False).astype("<u8")


def keys_of(batch: Batch, places: np.ndarray) -> pd.Index:
    """Keys of some rows of a batch, by their places in it."""
    import pandas as pd

    return pd.Index(batch.id * KEYS_PER_BATCH + places, dtype="int64")


def write_scores(
    ws: Workspace,
    name: str,
    labels: Sequence[Any],
    probabilities: np.ndarray | None,
    classes: Sequence[LabelValue],
    versions: Sequence[int],
) -> str:
    """Store a batch's predictions row for row; returns the file's sha256. None in `labels` = not predicted in time."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            PREDICTION: pd.Series([None if v is None else json.dumps(v) for v in labels], dtype="str"),
            VERSION: list(versions),
        }
    )
    if probabilities is not None:
        for k, label in enumerate(classes):
            frame[PROBABILITY + json.dumps(label)] = probabilities[:, k]
    return ws.batches.write_frame(name, frame)


def read_scores(ws: Workspace, batch: Batch, *, last: int | None = None) -> Scores:
    """Read what `write_scores` stored for a batch that has scores; Damaged names batch and file."""
    import numpy as np

    assert batch.scores_path is not None and batch.scores_sha256 is not None
    frame = ws.batches.read_frame(
        batch.scores_path, sha256=batch.scores_sha256, what=f"the predictions of batch {batch.number}", last=last
    )
    known: dict[Any, Any] = {text: json.loads(text) for text in frame[PREDICTION].dropna().unique()}
    labels = np.empty(len(frame), dtype=object)
    labels[:] = [known.get(v) if isinstance(v, str) else None for v in frame[PREDICTION]]
    columns = [c for c in frame.columns if c.startswith(PROBABILITY)]
    return Scores(
        labels=labels,
        probabilities=frame[columns].to_numpy(dtype=float) if columns else None,
        classes=tuple(json.loads(c[len(PROBABILITY) :]) for c in columns),
        versions=frame[VERSION].to_numpy(),
    )
