"""An index by which all batches that count are looked through without passing their profiles.

Revision ID: 0014
Revises: 0013
Create Date: 2026-11-29 08:00:00
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    columns = ["project_id", "undone_at", "timed", "backfill", "first_at", "created_at"]
    op.create_index("ix_batches_standing", "batches", columns)


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index("ix_batches_standing", "batches")
