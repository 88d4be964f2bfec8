"""The demo's program runs where it can, and is built right where it cannot."""

from __future__ import annotations

import platform
import struct
import subprocess
from pathlib import Path

import pytest

from cli.demo.hello import MESSAGE, hello_program

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def test_it_says_hello(tmp_path: Path) -> None:
    if platform.system() != "Linux" or platform.machine() not in ARCHITECTURES:
        pytest.skip("the program is for Linux on amd64 and arm64")
    program = tmp_path / "hello"
    program.write_bytes(hello_program(ARCHITECTURES[platform.machine()]))
    program.chmod(0o755)
    ran = subprocess.run([program], capture_output=True, check=True, timeout=10)
    assert ran.stdout == MESSAGE


def test_arm64_points_at_its_message() -> None:
    code = hello_program("arm64")[120:]
    words = struct.unpack("<8I", code[:32])
    distance = (words[1] >> 29 & 3) | (words[1] >> 5 & 0x7FFFF) << 2
    assert code[4 + distance :] == MESSAGE
    assert (words[2] >> 5 & 0xFFFF) == len(MESSAGE)
    assert words[4] == words[7] == 0xD4000001
