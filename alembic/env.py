"""Alembic's entry: called by core.storage.engine.migrate with the URL in `attributes`."""

from alembic import context
from core.storage.engine import Database
from core.storage.tables import Base

url = context.config.attributes.get("url")
if url is None:  # `alembic` on the command line
    from core.settings import get_settings

    url = get_settings().database_url

database = Database(url)
with database.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
database.dispose()
