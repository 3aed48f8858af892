"""Runs a program as the unit does: system calls and sockets filtered, no writable code.

    python confined.py FILE FAMILIES PROGRAM ARGUMENT...

FILE names the system calls that are allowed, one a line, and FAMILIES those of sockets, with
commas; the others fail with EPERM. systemd builds the same filters with the same library. Writable
code is refused by one of them, and by the kernel's switch where there is one.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PR_SET_NO_NEW_PRIVS: Final = 38
# Since Linux 6.3.
PR_SET_MDWE: Final = 65
REFUSE_EXEC_GAIN: Final = 1
ALLOW: Final = 0x7FFF0000
EPERM: Final = 0x00050001
EQUAL: Final = 4
MASKED_EQUAL: Final = 7
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4
SHM_EXEC: Final = 0o100000
AF_MAX: Final = 46


class Compare(ctypes.Structure):
    """What an argument of a call is compared with."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


# Memory that is both, code out of memory that was none, and code that is shared.
WRITABLE_CODE: Final = {
    "mmap": Compare(2, MASKED_EQUAL, PROT_WRITE | PROT_EXEC, PROT_WRITE | PROT_EXEC),
    "mprotect": Compare(2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC),
    "pkey_mprotect": Compare(2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC),
    "shmat": Compare(2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC),
}

_libc = ctypes.CDLL(None, use_errno=True)
_seccomp = ctypes.CDLL("libseccomp.so.2")
_seccomp.seccomp_init.restype = ctypes.c_void_p


def load(default: int, action: int, rules: Iterable[tuple[str, Compare | None]]) -> None:
    """Load a filter: what is done with the calls named, and by default with the others."""
    context = ctypes.c_void_p(_seccomp.seccomp_init(default))
    for name, compare in rules:
        number = _seccomp.seccomp_syscall_resolve_name(name.encode())
        count, compared = (0, None) if compare is None else (1, ctypes.byref(compare))
        # Negative are those of other architectures, and those that are too new for the library.
        if number >= 0 and _seccomp.seccomp_rule_add_array(
            context, action, number, count, compared
        ):
            sys.exit(f"seccomp refuses a rule for {name}")
    if _seccomp.seccomp_load(context) != 0:
        sys.exit("seccomp refuses the filter")


def confine(allowed: list[str], families: set[int]) -> None:
    """Confine this process and all that come from it."""
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    _libc.prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)
    others = (Compare(0, EQUAL, family, 0) for family in set(range(AF_MAX)) - families)
    load(ALLOW, EPERM, [*WRITABLE_CODE.items(), *(("socket", other) for other in others)])
    # The last one: it may refuse another filter.
    load(EPERM, ALLOW, [(name, None) for name in allowed])


if __name__ == "__main__":
    names, families, program, *arguments = sys.argv[1:]
    confine(Path(names).read_text().split(), {getattr(socket, f) for f in families.split(",")})
    os.execv(program, [program, *arguments])  # noqa: S606
