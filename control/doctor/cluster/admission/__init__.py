"""Checks of the webhook: its registration, a trial pod, and pods that it did not rewrite."""
