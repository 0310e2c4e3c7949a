"""The tree of exceptions: every one says what was seen, what was expected and what to do.

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
    """Base of all errors that a person or a client is meant to read."""


class BadInput(ContinualError):
    """Data, a file or an argument that cannot be taken; nothing of it was stored."""

    def __init__(self, message: str, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class TooLarge(BadInput):
    """A file, body or frame beyond the stated limit."""


class UnsupportedFormat(BadInput):
    """A file or body of a type that cannot be read here."""


class NotFound(ContinualError):
    """A project, batch, version, job, user or token that does not exist."""


class Conflict(ContinualError):
    """The request contradicts what is there: a name taken, a project of another origin."""


class NoChampion(Conflict):
    """The project has no model yet that could predict."""

    def __init__(self, project: str) -> None:
        super().__init__(
            f"Project '{project}' has no champion yet. Store labelled rows, then run a cycle (POST /retrain or `cycle`)."
        )


class Busy(Conflict):
    """Another process holds the project's lease."""


class Overtaken(Conflict):
    """What a cycle began with is not what stands at its end: nothing of it may be kept."""

    def __init__(self, by: str, text: str) -> None:
        super().__init__(text)
        self.by = by  # lease | champion | policy


class NeedsConsent(Conflict):
    """Labels that would replace others or add classes; none was stored, and a yes is needed."""

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
    """Allowed, but the person has not given the own password for a while; nothing was done."""


class NotAuthenticated(ContinualError):
    """No, wrong, expired or revoked credentials."""


class CodeNeeded(NotAuthenticated):
    """The password is right; the code of the second factor is still to be given."""


class TooOften(ContinualError):
    """A token has asked more often than its limit allows."""

    def __init__(self, message: str, *, wait_s: int) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class ConfigurationError(ContinualError):
    """A setting that is missing, unsafe or contradictory; the program does not start with it."""


class StorageError(ContinualError):
    """What is stored cannot be read or written: damaged file, full disk, database out of reach."""


class Damaged(StorageError):
    """A stored file that is missing, or is not as it was written."""

    def __init__(self, what: str, file: str, how: str) -> None:
        super().__init__(
            f"{what[:1].upper()}{what[1:]} cannot be read: the file {file} {how}. Restore it from a backup, or see with "
            "`repair --dry-run` how to go on without it."
        )
        self.what = what  # e.g. "batch 3" or "the artefact of v2"
        self.file = file  # below the folder of batches or models
        self.how = how  # e.g. "is missing"


class FitTimeout(ContinualError):
    """A candidate's fit ran into its time limit."""
