"""The `akua` command: environment, wiring and presentation. Nothing below imports this."""
