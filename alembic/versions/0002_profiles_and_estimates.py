"""Mergeable batch profiles as bytes, and scores estimated without labels.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-23 16:32:54.281964
"""

import sqlalchemy as sa

import core.storage.tables
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision. Profiles are made again from the stored rows when they are next needed."""
    op.create_table(
        "estimate_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("cycle_id", sa.Integer(), nullable=True),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("model_version", sa.Integer(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("rows_seen", sa.Integer(), nullable=False),
        sa.Column("at", core.storage.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("created_at", core.storage.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("scores", core.storage.tables.Document(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_estimate_runs_batch_id_batches"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["cycle_id"], ["cycles.id"], name=op.f("fk_estimate_runs_cycle_id_cycles"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_estimate_runs_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_estimate_runs")),
    )
    op.create_index(op.f("ix_estimate_runs_project_id"), "estimate_runs", ["project_id"], unique=False)
    # Not as a batch operation: SQLite would rebuild the table, and dropping the old one would clear what points to it.
    op.drop_column("batches", "profile")
    op.add_column("batches", sa.Column("profile", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    op.drop_column("batches", "profile")
    op.add_column("batches", sa.Column("profile", core.storage.tables.Document(none_as_null=True), nullable=True))
    op.drop_index(op.f("ix_estimate_runs_project_id"), table_name="estimate_runs")
    op.drop_table("estimate_runs")
