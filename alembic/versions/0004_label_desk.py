"""Rows whose labels are asked for, with the chance that each had to be drawn.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-23 21:15:00
"""

import sqlalchemy as sa

import core.storage.tables
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    instant = core.storage.tables.UtcDateTime(timezone=True)
    op.create_table(
        "label_draws",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("batch_ids", core.storage.tables.Document(none_as_null=True), nullable=False),
        sa.Column("pool", sa.Integer(), nullable=False),
        sa.Column("random_share", sa.Double(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=True),
        sa.Column("withdrawn_at", instant, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_label_draws_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_draws")),
    )
    op.create_index(op.f("ix_label_draws_project_id"), "label_draws", ["project_id"], unique=False)
    op.create_table(
        "label_asks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("draw_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("row_id", sa.String(length=200), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("chance", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_label_asks_batch_id_batches"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["draw_id"], ["label_draws.id"], name=op.f("fk_label_asks_draw_id_label_draws"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_label_asks_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_asks")),
        sa.UniqueConstraint("project_id", "row_id", name=op.f("uq_label_asks_project_id")),
    )
    op.create_index(op.f("ix_label_asks_draw_id"), "label_asks", ["draw_id"], unique=False)


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index(op.f("ix_label_asks_draw_id"), table_name="label_asks")
    op.drop_table("label_asks")
    op.drop_index(op.f("ix_label_draws_project_id"), table_name="label_draws")
    op.drop_table("label_draws")
