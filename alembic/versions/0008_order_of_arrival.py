"""Batches in the order of their arrival: which ones tell their own time, which were declared a backfill, which are still to be read.

Revision ID: 0008
Revises: 0007
Create Date: 2026-11-29 03:00:00
"""

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BATCHES = ("timed", "declared", "pending")


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("batches") as batch:
        for name in BATCHES:
            batch.add_column(sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("projects") as batch:
        batch.add_column(sa.Column("labels_checked", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("projects") as batch:
        batch.drop_column("labels_checked")
    with op.batch_alter_table("batches") as batch:
        for name in BATCHES:
            batch.drop_column(name)
