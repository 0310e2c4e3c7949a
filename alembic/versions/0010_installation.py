"""Which installation a database belongs to, so that no other one's files are tidied away.

Revision ID: 0010
Revises: 0009
Create Date: 2026-11-29 05:00:00
"""

import sqlalchemy as sa

import core.storage.tables
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("created_at", core.storage.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("installation")
