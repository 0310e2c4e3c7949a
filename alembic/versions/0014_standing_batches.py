"""An index by which the batches that count are counted without passing their profiles.

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
    op.create_index("ix_batches_project_undone", "batches", ["project_id", "undone_at"])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index("ix_batches_project_undone", "batches")
