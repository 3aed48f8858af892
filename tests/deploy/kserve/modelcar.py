"""A container beside the server's whose files are reached through /proc: what `oci://` makes.

    python modelcar.py FOLDER LINK

It lives in FOLDER as its root, in a mount namespace of its own, makes LINK lead to its /models as
KServe's modelcar does, says so, and ends with its standard input.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
MS_BIND: Final = 4096
MS_REC_PRIVATE: Final = 16384 | (1 << 18)
MNT_DETACH: Final = 2
PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}[os.uname().machine]

_libc = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> None:
    """Make a system call, or end with what was wrong."""
    if getattr(_libc, function)(*arguments) != 0:
        sys.exit(f"{function}: {os.strerror(ctypes.get_errno())}")


def enter(folder: Path) -> None:
    """Make the folder the root of this process, and of no other."""
    call("unshare", CLONE_NEWNS)
    call("mount", None, b"/", None, MS_REC_PRIVATE, None)
    call("mount", bytes(folder), bytes(folder), None, MS_BIND, None)
    os.chdir(folder)
    call("syscall", PIVOT_ROOT, b".", b".")
    call("umount2", b".", MNT_DETACH)


if __name__ == "__main__":
    root, link = map(Path, sys.argv[1:])
    link.symlink_to(f"/proc/{os.getpid()}/root/models")
    enter(root)
    print("mounted", flush=True)
    sys.stdin.read()
