"""The tokens of one file: read again when it changes, kept as digests, never written anywhere."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from isotherm.server.errors import ConfigError

_log = logging.getLogger(__name__)

# How often, at most, the file is looked at.
LOOK_S: Final = 1.0
# A comment starts the line or follows a space: a token may hold the sign.
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
# What gRPC lets metadata carry, without spaces.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


class TokenFile:
    """Knows a token when it sees one."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file; raise ConfigError when it cannot be, or holds no token."""
        self._path = path
        self._clock = clock
        self._look_at = clock() + LOOK_S
        self._stamp = _stamp(path)
        self._digests = self._read()

    def holds(self, token: str) -> bool:
        """Tell whether a token is in the file; the time it takes tells nothing of the tokens."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look()
        digest = _digest(token)
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._digests = self._read()
        except ConfigError as error:
            _log.error("the tokens read before stay valid: %s", error)
        else:
            _log.info("the tokens of %s were read again", self._path)

    def _read(self) -> tuple[bytes, ...]:
        try:
            with self._path.open(encoding="utf-8") as file:
                lines = file.read().splitlines()
                mode = os.fstat(file.fileno()).st_mode
        except OSError as error:
            msg = f"cannot read the tokens of {self._path}: {error.strerror}"
            raise ConfigError(msg) from error
        except UnicodeDecodeError:
            msg = f"{self._path} is not text"
            # Not from the error, which holds the bytes.
            raise ConfigError(msg) from None
        if mode & stat.S_IROTH:
            _log.warning(
                "every user of this machine can read the tokens of %s: chmod o-r", self._path
            )
        tokens = []
        for number, line in enumerate(lines, 1):
            token = _COMMENT.sub("", line).strip()
            if token and not _TOKEN.fullmatch(token):
                msg = f"line {number} of {self._path} is no token: printable ASCII without spaces"
                raise ConfigError(msg)
            tokens += [token] if token else []
        if not tokens:
            msg = f"{self._path} holds no token"
            raise ConfigError(msg)
        return tuple(_digest(token) for token in tokens)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
