"""The listening socket's last moments: nobody new, while those who have come are accepted."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from typing import Final

# Linux's number; Python has no name for it.
_SO_ATTACH_FILTER: Final = 26
_FLAGS_OFFSET: Final = 13
_SYN, _ACK = 0x02, 0x10
# Classic BPF, which needs no privilege: (code, jump if true, jump if false, operand).
_DROP_NEW: Final = (
    (0x30, 0, 0, _FLAGS_OFFSET),  # load the header's flags
    (0x54, 0, 0, _SYN | _ACK),  # these two of them
    (0x15, 0, 1, _SYN),  # a first packet?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # take it
)


def hush(listener: socket.socket) -> None:
    """Have the kernel begin no further connection; those that it has begun can be accepted.

    A socket that is closed resets whatever waits in its queue, requests and all. So the queue must
    be empty first, and must not fill meanwhile. Who comes in this moment is not answered, tries
    again by itself a second later, and is refused then. Where the kernel knows no such filters, a
    connection that comes at the very moment of closing is reset.
    """
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_NEW)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(_DROP_NEW), ctypes.addressof(buffer))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
