"""What is tried how often, whose turn came when, and artefacts that were removed.

Revision ID: 0013
Revises: 0012
Create Date: 2026-11-29 07:00:00
"""

import sqlalchemy as sa

from alembic import op
from core.storage.tables import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def _columns() -> dict[str, list[sa.Column[object]]]:
    return {
        "projects": [
            sa.Column("check_attempts", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("turn_at", UtcDateTime(timezone=True), nullable=True),
            sa.Column("checks_stopped_at", UtcDateTime(timezone=True), nullable=True),
        ],
        "live_runs": [
            sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("retries", sa.Integer(), nullable=False, server_default="0"),
        ],
        "model_versions": [sa.Column("removed_at", UtcDateTime(timezone=True), nullable=True)],
    }


def upgrade() -> None:
    """Apply this revision."""
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)


def downgrade() -> None:
    """Undo this revision."""
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
