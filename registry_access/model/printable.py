"""Text from others, made fit for a terminal: no character of it can move the cursor, change colours or reorder what is read."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """`text` with every character that is not shown as itself written out, as ``\\x1b`` or ``\\u202e``, except those in `keep`.

    These are Unicode's categories "other" and "separator" without the space: C0 and C1 controls, bidirectional and other
    invisible formatting, line and paragraph separators, lone surrogates, unassigned characters.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() or character in keep else _written_out(character) for character in text)


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
