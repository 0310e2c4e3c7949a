"""People by an id that is never given twice.

Revision ID: 0009
Revises: 0008
Create Date: 2026-11-29 04:00:00
"""

import secrets

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("users", sa.Column("uid", sa.String(length=32), nullable=True))
    users = sa.table("users", sa.column("id", sa.Integer), sa.column("uid", sa.String))
    connection = op.get_bind()
    for (user_id,) in connection.execute(sa.select(users.c.id)).all():
        connection.execute(users.update().where(users.c.id == user_id).values(uid=secrets.token_hex(16)))
    with op.batch_alter_table("users") as batch:
        batch.create_unique_constraint(op.f("uq_users_uid"), ["uid"])


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("users") as batch:
        batch.drop_constraint(op.f("uq_users_uid"), type_="unique")
        batch.drop_column("uid")
