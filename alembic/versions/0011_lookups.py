"""Lookups that do not grow with history: hashes of row ids by batch, and indexes of labels and predictions by their id.

Revision ID: 0011
Revises: 0010
Create Date: 2026-11-29 06:00:00
"""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "batch_ids",
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_ids_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batch_ids")),
    )
    op.create_index("ix_labels_project_id_id", "labels", ["project_id", "id"])
    op.create_index("ix_predictions_project_id_id", "predictions", ["project_id", "id"])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index("ix_predictions_project_id_id", "predictions")
    op.drop_index("ix_labels_project_id_id", "labels")
    op.drop_table("batch_ids")
