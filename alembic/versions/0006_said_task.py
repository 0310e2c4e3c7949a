"""The task that a project was made for, before it has rows.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-29 01:00:00
"""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("projects") as batch:
        batch.add_column(sa.Column("task", sa.String(length=16), nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("projects") as batch:
        batch.drop_column("task")
