"""The audit trail in SQL: an append-only table of records, each chained to the one before by its hash."""
