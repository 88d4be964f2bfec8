"""Numbers within each chain, the register of chains, and triggers that also refuse REPLACE and TRUNCATE.

Every statement takes milliseconds, however large the trail is: new columns have no default to write, and the indexes are made
beside this (see indexes.py).
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REFUSE_SQLITE = "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"


def upgrade() -> None:
    op.add_column("audit_records", sa.Column("number", sa.BigInteger(), nullable=True))
    op.add_column("audit_records", sa.Column("began", sa.BigInteger(), nullable=True))
    op.add_column("audit_records", sa.Column("verdict", sa.String(16), nullable=False, server_default=""))
    op.create_table(
        "audit_register",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("writer", sa.String(64), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_register_writer", "audit_register", ["writer"], unique=True)
    if op.get_bind().dialect.name == "sqlite":
        # INSERT OR REPLACE removes the old row without asking the DELETE trigger.
        taken = (
            "sequence = NEW.sequence OR (event_id = NEW.event_id AND kind = NEW.kind) "
            "OR (number IS NOT NULL AND writer = NEW.writer AND number = NEW.number)"
        )
        for table, same in (("audit_records", taken), ("audit_register", "number = NEW.number OR writer = NEW.writer")):
            op.execute(
                f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608 - constants
                f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {_REFUSE_SQLITE}"
            )
        for action in ("UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER audit_register_no_{action.lower()} BEFORE {action} ON audit_register {_REFUSE_SQLITE}")
        return
    op.execute(
        "CREATE TRIGGER audit_register_append_only BEFORE UPDATE OR DELETE ON audit_register "
        "FOR EACH ROW EXECUTE FUNCTION audit_records_append_only()"
    )
    for table in ("audit_records", "audit_register"):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_records_append_only()"
        )


def downgrade() -> None:
    op.drop_table("audit_register")
