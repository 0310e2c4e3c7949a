"""The base of all rows: names of constraints, and the column types that a plain database lacks or holds otherwise."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, LargeBinary, MetaData, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from core.records import Reason, reason_from, to_document
from core.records.reasons import reason_document


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC; SQLite would hand back naive ones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive instant {value!r}; expected one with a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Document(TypeDecorator[Any]):
    """JSON of records and plain values: NaN becomes null, which PostgreSQL demands."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return to_document(value)


class ReasonText(TypeDecorator[Reason]):
    """A reason: a person's text, or a sentence of an earlier version, as it is; any other as JSON of code and numbers."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Reason | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        document = reason_document(value)
        if isinstance(document, str) and not document.startswith("{"):
            return document
        if isinstance(document, str):  # a text that would be read as a document
            document = {"code": value.code, "numbers": dict(value.numbers)}
        return json.dumps(document)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Reason | None:
        if value is None:
            return None
        return reason_from(json.loads(value) if value.startswith('{"code": ') else value)


class PackedDocument(TypeDecorator[Any]):
    """A large JSON document, compressed to about a seventh; what an earlier version stored unpacked is read as well."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        return zlib.compress(json.dumps(to_document(value), separators=(",", ":")).encode())

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return json.loads(value if value[:1] in (b"{", b"[") else zlib.decompress(value))


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: Document(),
        list[Any]: Document(),
        Reason: ReasonText(),
    }
