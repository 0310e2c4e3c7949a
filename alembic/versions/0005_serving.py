"""Scorers, blocks and guards of the prediction log, answers kept for repeated requests, limits of tokens.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-24 03:00:00
"""

import sqlalchemy as sa

import core.storage.tables
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ADDED = {
    "model_versions": (sa.Column("scorer_path", sa.Text()), sa.Column("scorer_sha256", sa.String(length=64))),
    "predictions": (
        sa.Column("rows", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("anonymous", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("guarded", sa.Text()),
        sa.Column("block", sa.LargeBinary()),
    ),
    "api_tokens": (sa.Column("rate_limit", sa.Integer()),),
    "projects": (sa.Column("guards", core.storage.tables.Document(none_as_null=True)),),
}


def upgrade() -> None:
    """Apply this revision."""
    for table, columns in ADDED.items():
        for column in columns:
            op.add_column(table, column._copy())
    spoken = sa.text("guarded IS NOT NULL")
    op.create_index(
        "ix_predictions_guarded",
        "predictions",
        ["project_id", "created_at"],
        sqlite_where=spoken,
        postgresql_where=spoken,
    )
    op.create_table(
        "kept_answers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", core.storage.tables.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_kept_answers_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kept_answers")),
        sa.UniqueConstraint("project_id", "key", name=op.f("uq_kept_answers_project_id")),
    )
    op.create_index(op.f("ix_kept_answers_created_at"), "kept_answers", ["created_at"], unique=False)


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index(op.f("ix_kept_answers_created_at"), table_name="kept_answers")
    op.drop_table("kept_answers")
    op.drop_index("ix_predictions_guarded", table_name="predictions")
    for table, columns in ADDED.items():
        for column in columns:
            op.drop_column(table, column.name)
