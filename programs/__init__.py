"""The long-running programs: one composition root each, and how a process starts, drains and stops."""
