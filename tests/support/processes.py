"""Processes that others have started, as the kernel tells of them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def children(parent: int) -> list[int]:
    """Return the ids of the processes that a process has started, by whichever of its threads.

    Its threads come and go meanwhile, as those do that answer a scrape; it may go itself.
    """
    found: set[int] = set()
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{parent}/task"):
            with suppress(OSError):
                text = Path(f"/proc/{parent}/task/{thread}/children").read_text()
                found.update(map(int, text.split()))
    return sorted(found)
