"""Drift reports are stored compressed.

Revision ID: 0015
Revises: 0014
Create Date: 2026-11-29 09:00:00
"""

import json
import zlib

import sqlalchemy as sa

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    connection = op.get_bind()
    with op.batch_alter_table("drift_runs") as table:
        table.alter_column(
            "report",
            existing_type=sa.JSON(),
            type_=sa.LargeBinary(),
            existing_nullable=False,
            postgresql_using="convert_to(report::text, 'UTF8')",
        )
    for (key,) in connection.execute(sa.text("SELECT id FROM drift_runs")).all():
        report = connection.execute(sa.text("SELECT report FROM drift_runs WHERE id = :id"), {"id": key}).scalar_one()
        content = report.encode() if isinstance(report, str) else bytes(report)
        statement = sa.text("UPDATE drift_runs SET report = :report WHERE id = :id")
        statement = statement.bindparams(sa.bindparam("report", type_=sa.LargeBinary()))
        connection.execute(statement, {"report": zlib.compress(content), "id": key})


def downgrade() -> None:
    """Undo this revision."""
    connection = op.get_bind()
    table = sa.table("drift_runs", sa.column("id", sa.Integer()), sa.column("report", sa.LargeBinary()))
    reports = {key: json.loads(zlib.decompress(report)) for key, report in connection.execute(sa.select(table)).all()}
    with op.batch_alter_table("drift_runs") as altered:
        altered.drop_column("report")
    with op.batch_alter_table("drift_runs") as altered:
        altered.add_column(sa.Column("report", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("drift_runs") as altered:
        altered.alter_column("report", existing_type=sa.JSON(), existing_nullable=False, server_default=None)
    told = sa.table("drift_runs", sa.column("id", sa.Integer()), sa.column("report", sa.JSON()))
    for key, report in reports.items():
        connection.execute(sa.update(told).where(told.c.id == key).values(report=report))
