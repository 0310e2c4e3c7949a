"""The hierarchy of exceptions: every message says what was seen, what was expected and what to do.

`api.py` maps the classes to HTTP statuses in one table, pages show the text, the loop records it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.records import LabelPlan


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with one field of the input."""

    field: str  # e.g. "rows[3].feature1" or "column temperature"
    seen: str
    expected: str


class ContinualError(Exception):
    """Base of all errors whose message is for a person or a client."""


class BadInput(ContinualError):
    """Data, a file or an argument that was rejected; none of it was stored."""

    def __init__(self, message: str, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class TooLarge(BadInput):
    """A file, body or frame beyond the stated limit."""


class UnsupportedFormat(BadInput):
    """A file or body of an unsupported type."""


class NotFound(ContinualError):
    """A project, batch, version, job, user or token that does not exist."""


class Conflict(ContinualError):
    """The request conflicts with the current state: a name in use, a project of another origin."""


class NoChampion(Conflict):
    """The project has no serving model yet."""

    def __init__(self, project: str) -> None:
        super().__init__(
            f"Project '{project}' has no champion yet. Store labelled rows, then run a cycle (POST /retrain or `cycle`)."
        )


class Busy(Conflict):
    """Another process holds the project's lease."""


class Overtaken(Conflict):
    """The state that a cycle started from has changed by its end: nothing of it may be stored."""

    def __init__(self, by: str, text: str) -> None:
        super().__init__(text)
        self.by = by  # lease | champion | policy


class NeedsConsent(Conflict):
    """Labels that would replace others or add classes; none was stored until somebody confirms them."""

    def __init__(self, message: str, *, plan: LabelPlan, problems: tuple[FieldProblem, ...]) -> None:
        super().__init__(message)
        self.plan = plan
        self.problems = problems  # the first 20 of those labels


class NotEnoughRows(ContinualError):
    """A computation that needs more rows than there are."""

    def __init__(self, what: str, *, needed: int, found: int) -> None:
        super().__init__(f"{what} needs {needed} rows, found {found}. Add rows and try again.")
        self.needed = needed
        self.found = found


class NotAllowed(ContinualError):
    """Signed in or authenticated, but the role or scope does not allow this."""


class ProofNeeded(NotAllowed):
    """Allowed, but the person has to enter their password again first; nothing was done."""


class NotAuthenticated(ContinualError):
    """Missing, wrong, expired or revoked credentials."""


class CodeNeeded(NotAuthenticated):
    """The password is correct; the code of the second factor is missing."""


class TooOften(ContinualError):
    """A token has made more requests than its limit allows."""

    def __init__(self, message: str, *, wait_s: int) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class ConfigurationError(ContinualError):
    """A setting that is missing, unsafe or contradictory; the program does not start with it."""


class StorageError(ContinualError):
    """Stored data cannot be read or written: damaged file, full disk, database unavailable."""


class Damaged(StorageError):
    """A stored file that is missing or does not match its checksum."""

    def __init__(self, what: str, file: str, how: str) -> None:
        super().__init__(
            f"{what[:1].upper()}{what[1:]} cannot be read: the file {file} {how}. Restore it from a backup, or run "
            "`repair --dry-run` to see how to continue without it."
        )
        self.what = what  # e.g. "batch 3" or "the artefact of v2"
        self.file = file  # relative to the folder of batches or models
        self.how = how  # e.g. "is missing"


class FitTimeout(ContinualError):
    """A candidate's fit exceeded its time limit."""
