"""What every command shares with the terminal: options, tables, exit codes."""
