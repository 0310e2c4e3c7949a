"""The learner's state between batches, without the data, and how it is stored.

A state is immutable: `advance` returns the next one. It is stored as a JSON document and the estimators that it names;
a name always means the same estimator, so that a store writes each one only once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypedDict

from core.errors import StorageError
from core.learning.evidence import Bets, counted
from core.learning.models import Committee
from core.learning.policy import FAMILY_LABELS
from core.learning.rising import Rise
from core.records import JsonObject

FORMAT = 2  # of the document; an older one is refused by name
ARCHIVED = "until "  # prefix of the window of a model archived from an earlier regime


class MemberInfo(TypedDict):
    """Metadata of a committee's member, as stored with the learner's state and with versions."""

    key: str  # name of its estimator in storage
    name: str  # for display
    family: str
    window: str
    n_rows: int | None  # training rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model that the learner keeps up to date: a family on a window."""

    family: str
    window: str  # "change", "all" or a number of rows
    model: Any = None  # fitted pipeline; None before its first fit
    key: str = ""  # name of that estimator in storage
    loss: float | None = None  # exponentially weighted, half-life 500 rows; None = never measured
    start: int = 0  # labelled row at which its window began when it was fitted
    fitted_at: int = 0  # labelled rows at the time of the fit
    n_rows: int = 0  # training rows
    barred_until: int = 0  # labelled rows before which it is not fitted again, after a fit that timed out

    @property
    def archived(self) -> bool:
        """Kept from an earlier regime: predicts, is never fitted again."""
        return self.window.startswith(ARCHIVED)

    @property
    def info(self) -> MemberInfo:
        """The metadata that a committee stores about this member."""
        return {"key": self.key, "name": self.name, "family": self.family, "window": self.window, "n_rows": self.n_rows}

    @property
    def name(self) -> str:
        """For display: "gradient boosting, last 1,000 rows"."""
        windows = {"all": "all rows", "change": "since the last change"}
        if self.archived:
            return f"{FAMILY_LABELS[self.family]}, kept from before row {int(self.window.removeprefix(ARCHIVED)):,}"
        window = windows[self.window] if self.window in windows else f"last {int(self.window):,} rows"
        return f"{FAMILY_LABELS[self.family]}, {window}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The version that the champion replaced, and its record since: the evidence for a rollback."""

    model: Committee
    version: int
    wins: int = 0  # rows that only the replaced version has right
    losses: int = 0
    rows: int = 0
    bets: Bets = field(default_factory=Bets)  # that the replaced version is better


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A version that predicts in shadow mode next to the champion, and its record."""

    model: Committee
    version: int
    kind: str = "promotion"  # kind of the event when it is promoted
    wins: int = 0  # labelled rows that only the shadow has right
    losses: int = 0
    rows: int = 0
    bets: Bets = field(default_factory=Bets)  # that the shadow version is better

    def restarted(self) -> Shadow:
        """The same version against another champion: its record restarts."""
        return replace(self, wins=0, losses=0, rows=0, bets=Bets())


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """The time between two changes, and its frozen rows, which no model ever trains on."""

    number: int  # 1 is the first
    row: int  # stream position of its first row
    first: int  # the same by the learner's count of labelled rows
    rows: tuple[int, ...] = ()  # keys of the frozen rows
    scores: tuple[tuple[int, float], ...] = ()  # (regime, score) of the champion at its end; empty while it lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerState:
    """The complete state between batches. A new project starts with `LearnerState()`."""

    members: tuple[Member, ...] = ()
    champion: Committee | None = None
    champion_version: int | None = None
    watch: Watch | None = None
    shadow: Shadow | None = None
    regimes: tuple[Regime, ...] = ()  # the newest ones, the current one last
    seen: int = 0  # labelled rows so far: the learner's row count
    change_start: int = 0  # labelled row (by that count) at which the last change began; 0 = none found
    change_row: int | None = None  # the same as a stream position
    change_pending: bool = False  # a change that no promoted model has responded to yet
    history: tuple[tuple[int, float], ...] = ()  # (rows, mean error) of the last batches since the change
    scores: tuple[tuple[int, float], ...] = ()  # (rows, metric) of the same batches
    rise: Rise = field(default_factory=Rise)  # evidence that errors have risen since the change
    tail: tuple[float, ...] = ()  # errors of the last 1,000 rows that were predicted
    tail_since: int = 0  # how many of them are from after the last change
    held_out: tuple[int, ...] = ()  # keys of the newest labelled rows that no model was trained on
    held_out_weights: tuple[float, ...] = ()  # number of rows that each represents
    chances: tuple[
        tuple[float, float], ...
    ] = ()  # (probability of the second class, 1 if it was the label) of the last predicted rows
    tokens: float = 0.0  # fit budget
    scale: float | None = None  # spread of the target (regression): the unit of its errors
    labels_since_race: int = 0
    serial: int = 0  # fits so far: makes estimator names unique
    undone: tuple[int, ...] = ()  # ids of batches that were undone after it had counted their rows

    def serving(self, model: Any, version: int) -> LearnerState:
        """The state after a manual promotion of another version: a committee, or any fitted pipeline."""
        shadow = self.shadow
        if shadow is not None:  # its record was against another champion
            shadow = None if shadow.version == version else shadow.restarted()
        return replace(
            self, champion=_as_committee(model, version), champion_version=version, watch=None, shadow=shadow
        )

    def shadowing(self, model: Any, version: int | None) -> LearnerState:
        """The state after a person has started a shadow version, or (None) ended it."""
        if version is None:
            return replace(self, shadow=None)
        return replace(self, shadow=Shadow(model=_as_committee(model, version), version=version))

    def without(self, keys: Collection[int], *, before: int) -> LearnerState:
        """The state after rows that it has counted were undone: counts and row-by-row values no longer include them.

        "Since the change", "since the last race" and every window then mean the same rows as before. Aggregates over many
        rows stay: fitted models, members' losses, the records of watch and shadow, and the fit budget.

        Args:
            keys: of the labelled rows that are gone, consecutive in stream order.
            before: labelled rows before them that still count.
        """
        gone = frozenset(keys)
        n = min(len(gone), self.seen - before)
        if n <= 0:
            return self

        def shifted(count: int) -> int:
            return count - min(max(count - before, 0), n)

        def remaining(values: Sequence[Any]) -> tuple[Any, ...]:
            """Values of the newest rows, one per row, without those of undone rows."""
            first = self.seen - len(values)
            return tuple(v for i, v in enumerate(values, start=first) if not before <= i < before + n)

        def reduced(history: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
            """Batches of the newest rows, each with its remaining rows."""
            batches, end = [], self.seen
            for rows, mean in reversed(history):
                left = rows - max(0, min(end, before + n) - max(end - rows, before))
                batches += [(left, mean)] if left > 0 else []
                end -= rows
            return tuple(batches[::-1])

        held = [
            (key, weight) for key, weight in zip(self.held_out, self.held_out_weights, strict=True) if key not in gone
        ]
        since = remaining(self.tail[len(self.tail) - self.tail_since :])
        return replace(
            self,
            members=tuple(
                replace(
                    m, start=shifted(m.start), fitted_at=shifted(m.fitted_at), barred_until=max(m.barred_until - n, 0)
                )
                for m in self.members
            ),
            regimes=tuple(
                replace(r, first=shifted(r.first), rows=tuple(k for k in r.rows if k not in gone)) for r in self.regimes
            ),
            seen=self.seen - n,
            change_start=shifted(self.change_start),
            labels_since_race=self.seen - n - shifted(self.seen - self.labels_since_race),
            held_out=tuple(key for key, _ in held),
            held_out_weights=tuple(weight for _, weight in held),
            tail=remaining(self.tail),
            tail_since=len(since),
            chances=remaining(self.chances),
            history=reduced(self.history),
            scores=reduced(self.scores),
        )

    def to_parts(self) -> tuple[JsonObject, dict[str, object]]:
        """A JSON document and the estimators that it names."""
        estimators: dict[str, object] = {}
        members = []
        for member in self.members:
            if member.model is not None:
                estimators[member.key] = member.model
            members.append({name: getattr(member, name) for name in _MEMBER_FIELDS})
        document: JsonObject = {"format": FORMAT, "members": members}
        document |= {name: getattr(self, name) for name in _PLAIN_FIELDS}
        document |= {name: list(getattr(self, name)) for name in _LIST_FIELDS}
        document |= {name: [list(pair) for pair in getattr(self, name)] for name in _PAIR_FIELDS}
        document["champion"] = _committee_to_document(self.champion, estimators)
        watch = self.watch
        document["watch"] = watch and {
            "model": _committee_to_document(watch.model, estimators),
            "version": watch.version, "wins": watch.wins, "losses": watch.losses, "rows": watch.rows,
            "bets": asdict(watch.bets),
        }  # fmt: skip
        shadow = self.shadow
        document["shadow"] = shadow and {
            "model": _committee_to_document(shadow.model, estimators),
            **{name: getattr(shadow, name) for name in _SHADOW_FIELDS},
            "bets": asdict(shadow.bets),
        }
        document["rise"] = asdict(self.rise)
        document["regimes"] = [asdict(regime) for regime in self.regimes]
        return document, estimators

    @classmethod
    def from_parts(cls, document: Mapping[str, Any], estimators: Mapping[str, Any]) -> LearnerState:
        """The state that was stored.

        Raises:
            StorageError: the document is of another format, or an estimator is missing.
        """
        if document.get("format") == 1:  # written before regimes and shadows existed; its held-out rows had other keys
            document = {**document, "format": FORMAT, "held_out": [], "chances": [], "shadow": None, "regimes": []}
        if document.get("format") != FORMAT:
            raise StorageError(
                f"The learner's state has format {document.get('format')!r}, expected {FORMAT}. Start the project's learner again."
            )
        members = []
        for stored in document["members"]:
            fields = {name: stored[name] for name in _MEMBER_FIELDS if name in stored}
            members.append(Member(**fields, model=_named(fields["key"], estimators) if fields["key"] else None))
        watch = document["watch"]
        values: dict[str, Any] = {name: document[name] for name in _PLAIN_FIELDS}
        values |= {name: tuple(document.get(name, ())) for name in _LIST_FIELDS}
        if len(values["held_out_weights"]) != len(values["held_out"]):  # stored before weights existed
            values["held_out_weights"] = (1.0,) * len(values["held_out"])
        values |= {name: tuple((n, v) for n, v in document[name]) for name in _PAIR_FIELDS}
        values["rise"] = Rise(**{name: tuple(stored) for name, stored in document.get("rise", {}).items()})
        values["champion"] = _committee_from_document(document["champion"], estimators)
        if watch is not None:
            model = _committee_from_document(watch["model"], estimators)
            assert model is not None
            counts = {name: watch[name] for name in ("version", "wins", "losses", "rows")}
            values["watch"] = Watch(model=model, bets=_bets(watch), **counts)
        shadow = document["shadow"]
        if shadow is not None:
            model = _committee_from_document(shadow["model"], estimators)
            assert model is not None
            values["shadow"] = Shadow(
                model=model, bets=_bets(shadow), **{name: shadow[name] for name in _SHADOW_FIELDS}
            )
        values["regimes"] = tuple(
            Regime(**{**stored, "rows": tuple(stored["rows"]), "scores": tuple((n, v) for n, v in stored["scores"])})
            for stored in document["regimes"]
        )
        return cls(members=tuple(members), **values)


def _bets(record: Mapping[str, Any]) -> Bets:
    """The bets of a stored record; for an older record without bets, computed from its counts."""
    stored = record.get("bets")
    if stored is None:
        return counted(record["wins"], record["losses"])
    lists = {name: tuple(stored[name]) for name in ("better", "worse")}
    return Bets(**{**stored, **lists, "table": tuple(tuple(cell) for cell in stored["table"])})


def _as_committee(model: Any, version: int) -> Committee:
    """Any fitted pipeline as a committee of one."""
    if isinstance(model, Committee):
        info = [{"key": f"v{version}-{i}", **dict(known)} for i, known in enumerate(model.info)]
        return Committee(model.members, model.weights, info, model.task, model.threshold)
    task = "binary" if hasattr(model, "classes_") else "regression"
    info = [{"key": f"v{version}-0", "name": f"version {version}", "family": "imported", "window": "", "n_rows": None}]
    return Committee([model], [1.0], info, task)


def _committee_to_document(committee: Committee | None, estimators: dict[str, object]) -> JsonObject | None:
    if committee is None:
        return None
    estimators |= {info["key"]: model for info, model in zip(committee.info, committee.members, strict=True)}
    plain = ("info", "weights", "task", "threshold")
    return {name: getattr(committee, name) for name in plain}


def _committee_from_document(document: Mapping[str, Any] | None, estimators: Mapping[str, Any]) -> Committee | None:
    if document is None:
        return None
    members = [_named(info["key"], estimators) for info in document["info"]]
    return Committee(members, document["weights"], document["info"], document["task"], document.get("threshold"))


def _named(key: str, estimators: Mapping[str, Any]) -> Any:
    if key not in estimators:
        raise StorageError(
            f"The learner's state names the estimator '{key}', which is not stored. Start the project's learner again."
        )
    return estimators[key]


_MEMBER_FIELDS = ("family", "window", "key", "loss", "start", "fitted_at", "n_rows", "barred_until")
_SHADOW_FIELDS = ("version", "kind", "wins", "losses", "rows")
_PLAIN_FIELDS = (
    "champion_version", "seen", "change_start", "change_row", "change_pending", "tail_since", "tokens", "scale",
    "labels_since_race", "serial",
)  # fmt: skip
_LIST_FIELDS = ("tail", "held_out", "held_out_weights", "undone")
_PAIR_FIELDS = ("history", "scores", "chances")
