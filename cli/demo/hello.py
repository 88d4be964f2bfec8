"""A program of a few hundred bytes for the demo's image to run: static, without libc, for two processors.

It writes one message and ends. ELF-64 with a single loadable segment (System V ABI, "Program Loading"); the instructions are
Linux's `write` and `exit` system calls.
"""

from __future__ import annotations

import struct

MESSAGE = b"hello from a private image that came through Akua registry access\n"
_BASE = 0x400000
_HEADERS = 64 + 56
_X86_64, _AARCH64 = 62, 183


def hello_program(architecture: str) -> bytes:
    """The executable for "amd64" or "arm64"."""
    if architecture == "amd64":
        return _elf(_X86_64, _amd64())
    return _elf(_AARCH64, _arm64())


def _amd64() -> bytes:
    before = b"\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00"  # mov eax, 1 (write); mov edi, 1 (stdout)
    after = b"\xba" + struct.pack("<I", len(MESSAGE)) + b"\x0f\x05"  # mov edx, length; syscall
    after += b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"  # mov eax, 60 (exit); xor edi, edi; syscall
    return before + b"\x48\x8d\x35" + struct.pack("<i", len(after)) + after + MESSAGE  # lea rsi, [rip + to the message]


def _arm64() -> bytes:
    def move(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    supervise = 0xD4000001  # svc #0
    code = [move(0, 1), 0, move(2, len(MESSAGE)), move(8, 64), supervise, move(0, 0), move(8, 93), supervise]
    distance = (len(code) - 1) * 4
    code[1] = 0x10000001 | (distance & 3) << 29 | (distance >> 2) << 5  # adr x1, the message
    return b"".join(struct.pack("<I", instruction) for instruction in code) + MESSAGE


def _elf(machine: int, code: bytes) -> bytes:
    size = _HEADERS + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)  # PT_LOAD, readable and executable
    return header + segment + code
