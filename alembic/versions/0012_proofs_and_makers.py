"""What a person has proved and was told, the second factor, and who made a token.

Revision ID: 0012
Revises: 0011
Create Date: 2026-11-29 06:00:00
"""

import sqlalchemy as sa

from alembic import op
from core.storage.tables import Document, UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def _columns() -> dict[str, list[sa.Column[object]]]:
    return {
        "users": [
            sa.Column("proved_at", UtcDateTime(timezone=True), nullable=True),
            sa.Column("proved_epoch", sa.Integer(), nullable=True),
            sa.Column("weak_password", sa.Boolean(), nullable=True),
            sa.Column("password_set_at", UtcDateTime(timezone=True), nullable=True),
            sa.Column("password_set_by", sa.String(length=200), nullable=True),
            sa.Column("totp_secret", sa.String(length=64), nullable=True),
            sa.Column("totp_step", sa.Integer(), nullable=True),
            sa.Column("recovery_hashes", Document(none_as_null=True), nullable=True),
        ],
        "api_tokens": [sa.Column("created_uid", sa.String(length=32), nullable=True)],
    }


def upgrade() -> None:
    """Apply this revision."""
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    users = sa.table("users", sa.column("uid"), sa.column("name"), sa.column("created_at"))
    tokens = sa.table("api_tokens", sa.column("created_uid"), sa.column("created_by"), sa.column("created_at"))
    maker = (
        sa.select(users.c.uid)
        .where(users.c.name == tokens.c.created_by, users.c.created_at <= tokens.c.created_at)
        .scalar_subquery()
    )
    op.execute(tokens.update().values(created_uid=maker))


def downgrade() -> None:
    """Undo this revision."""
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
