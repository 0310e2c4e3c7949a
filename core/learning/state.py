"""What the learner carries from batch to batch, without the data, and how it is stored.

A state is never changed in place: `advance` makes the next one. Stored, it is a JSON document and the estimators it
names; a name stands for the same estimator for ever, so a store need not write one twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.errors import StorageError
from core.learning.models import Committee
from core.learning.policy import FAMILY_LABELS

FORMAT = 1  # of the document; an older one is refused by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model that the learner keeps up to date: a family on a window."""

    family: str
    window: str  # "change", "all" or a number of rows
    model: Any = None  # fitted pipeline; None while it has none of its own
    key: str = ""  # name of that estimator in store
    loss: float | None = None  # forgotten by half every 500 rows; None = never measured
    start: int = 0  # labelled row at which its window began when it was fitted
    fitted_at: int = 0  # labelled rows there were then
    n_rows: int = 0  # rows it learnt from

    @property
    def info(self) -> dict[str, Any]:
        """What a committee tells about this member."""
        return {"key": self.key, "name": self.name, "family": self.family, "window": self.window, "n_rows": self.n_rows}

    @property
    def name(self) -> str:
        """In words: "gradient boosting, last 1,000 rows"."""
        windows = {"all": "all rows", "change": "since the last change"}
        window = windows[self.window] if self.window in windows else f"last {int(self.window):,} rows"
        return f"{FAMILY_LABELS[self.family]}, {window}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The version that the champion replaced, and how it would have done since: grounds for a rollback."""

    model: Committee
    version: int
    wins: int = 0  # rows that only the replaced version has right
    losses: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerState:
    """Everything carried from batch to batch. A new project starts with `LearnerState()`."""

    members: tuple[Member, ...] = ()
    champion: Committee | None = None
    champion_version: int | None = None
    watch: Watch | None = None
    seen: int = 0  # labelled rows so far: the learner's own row count
    change_start: int = 0  # labelled row (by that count) at which the last change began; 0 = none found
    change_row: int | None = None  # the same as a stream position
    change_pending: bool = False  # a change that no admitted model has answered yet
    history: tuple[tuple[int, float], ...] = ()  # (rows, mean error) of the last batches since the change
    scores: tuple[tuple[int, float], ...] = ()  # (rows, metric) of the same
    tail: tuple[float, ...] = ()  # errors of the last 1,000 rows that were predicted
    tail_since: int = 0  # how many of them lie after the last change
    held_out: tuple[int, ...] = ()  # labelled rows, by that count, that no model has learnt from
    tokens: float = 0.0  # fits that are allowed
    scale: float | None = None  # spread of the target (regression): the unit of its errors
    labels_since_race: int = 0
    serial: int = 0  # fits so far: makes estimator names unique

    def serving(self, model: Any, version: int) -> LearnerState:
        """The state after a person has put another version in place: a committee, or any fitted pipeline."""
        if isinstance(model, Committee):
            info = [{"key": f"v{version}-{i}", **dict(known)} for i, known in enumerate(model.info)]
            champion = Committee(model.members, model.weights, info, model.task)
        else:
            task = "binary" if hasattr(model, "classes_") else "regression"
            info = [{"key": f"v{version}-0", "name": f"version {version}", "family": "imported", "window": "", "n_rows": None}]  # fmt: skip
            champion = Committee([model], [1.0], info, task)
        return replace(self, champion=champion, champion_version=version, watch=None)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A JSON document and the estimators that it names."""
        estimators: dict[str, Any] = {}
        members = []
        for member in self.members:
            if member.model is not None:
                estimators[member.key] = member.model
            members.append({name: getattr(member, name) for name in _MEMBER_FIELDS})
        document: dict[str, Any] = {"format": FORMAT, "members": members}
        document |= {name: getattr(self, name) for name in _PLAIN_FIELDS}
        document |= {name: list(getattr(self, name)) for name in _LIST_FIELDS}
        document |= {name: [list(pair) for pair in getattr(self, name)] for name in _PAIR_FIELDS}
        document["champion"] = _committee_to_document(self.champion, estimators)
        watch = self.watch
        document["watch"] = watch and {
            "model": _committee_to_document(watch.model, estimators),
            "version": watch.version, "wins": watch.wins, "losses": watch.losses, "rows": watch.rows,
        }  # fmt: skip
        return document, estimators

    @classmethod
    def from_parts(cls, document: Mapping[str, Any], estimators: Mapping[str, Any]) -> LearnerState:
        """The state that was stored.

        Raises:
            StorageError: the document is of another format, or an estimator is missing.
        """
        if document.get("format") != FORMAT:
            raise StorageError(
                f"The learner's state has format {document.get('format')!r}, expected {FORMAT}. Start the project's learner anew."
            )
        members = []
        for stored in document["members"]:
            kept = {name: stored[name] for name in _MEMBER_FIELDS}
            members.append(Member(**kept, model=_named(kept["key"], estimators) if kept["key"] else None))
        watch = document["watch"]
        values: dict[str, Any] = {name: document[name] for name in _PLAIN_FIELDS}
        values |= {name: tuple(document[name]) for name in _LIST_FIELDS}
        values |= {name: tuple((int(n), float(v)) for n, v in document[name]) for name in _PAIR_FIELDS}
        values["champion"] = _committee_from_document(document["champion"], estimators)
        if watch is not None:
            model = _committee_from_document(watch["model"], estimators)
            assert model is not None
            counts = {name: watch[name] for name in ("version", "wins", "losses", "rows")}
            values["watch"] = Watch(model=model, **counts)
        return cls(members=tuple(members), **values)


def _committee_to_document(committee: Committee | None, estimators: dict[str, Any]) -> dict[str, Any] | None:
    if committee is None:
        return None
    estimators |= {info["key"]: model for info, model in zip(committee.info, committee.members, strict=True)}
    return {"info": committee.info, "weights": committee.weights, "task": committee.task}


def _committee_from_document(document: Mapping[str, Any] | None, estimators: Mapping[str, Any]) -> Committee | None:
    if document is None:
        return None
    members = [_named(info["key"], estimators) for info in document["info"]]
    return Committee(members, document["weights"], document["info"], document["task"])


def _named(key: str, estimators: Mapping[str, Any]) -> Any:
    if key not in estimators:
        raise StorageError(
            f"The learner's state names the estimator '{key}', which is not stored. Start the project's learner anew."
        )
    return estimators[key]


_MEMBER_FIELDS = ("family", "window", "key", "loss", "start", "fitted_at", "n_rows")
_PLAIN_FIELDS = (
    "champion_version", "seen", "change_start", "change_row", "change_pending", "tail_since", "tokens", "scale",
    "labels_since_race", "serial",
)  # fmt: skip
_LIST_FIELDS = ("tail", "held_out")
_PAIR_FIELDS = ("history", "scores")
