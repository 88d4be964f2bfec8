"""Alembic's environment: runs the migrations on the connection that `migrate` hands over."""

from alembic import context

from registry_access.audit.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
