"""Mutating admission and the install sync. The admission path holds no credential and no key, and makes no call."""
