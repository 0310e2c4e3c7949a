"""Which messages a project sends, and channels whose address refuses for good.

Revision ID: 0016
Revises: 0015
Create Date: 2026-11-29 10:00:00
"""

import sqlalchemy as sa

from alembic import op
from core.storage.tables import Document, UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("projects", sa.Column("messages", Document(none_as_null=True), nullable=True))
    op.create_table(
        "channels",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("dead_since", UtcDateTime(timezone=True), nullable=False),
        sa.Column("why", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_channels"),
    )


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("channels")
    op.drop_column("projects", "messages")
