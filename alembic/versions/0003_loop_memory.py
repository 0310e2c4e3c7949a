"""What the champion still knows, versions in the shadow, and where each cycle's labels end.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-23 20:05:00
"""

import sqlalchemy as sa

import core.storage.tables
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision. Cycles of before keep what they had: nothing in the new columns."""
    document = core.storage.tables.Document(none_as_null=True)
    op.add_column("cycles", sa.Column("memory", document, nullable=True))
    op.add_column("cycles", sa.Column("shadow", document, nullable=True))
    op.add_column("cycles", sa.Column("label_watermark", sa.Integer(), nullable=True))
    op.add_column("projects", sa.Column("shadow_version", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("stage", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("share", sa.Double(), nullable=True))
    instant = core.storage.tables.UtcDateTime(timezone=True)
    op.add_column("projects", sa.Column("next_race_at", instant, nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    op.drop_column("projects", "next_race_at")
    op.drop_column("jobs", "share")
    op.drop_column("jobs", "stage")
    op.drop_column("projects", "shadow_version")
    op.drop_column("cycles", "label_watermark")
    op.drop_column("cycles", "shadow")
    op.drop_column("cycles", "memory")
