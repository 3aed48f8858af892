"""A command that Ctrl-C reaches, whoever started the tests."""

from __future__ import annotations

from collections.abc import Sequence


def interruptible(command: Sequence[str]) -> list[str]:
    """Return the command with SIGINT as it is by default, in the same process.

    A suite that runs in the background was started with Ctrl-C ignored, and would hand it on. Not
    by `preexec_fn`: what runs between fork and exec meets locks that other threads held, gRPC's
    among them, and may wait for ever.
    """
    return ["env", "--default-signal=INT", *command]
