"""The audit trail: an intent committed before the first byte, an outcome after, hash-chained, never edited."""
