"""What a worker asks of the vetting process, one line of JSON each way."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One file to vet, and the bounds for it."""

    path: str
    level: str
    domains: list[str]
    max_batch_size: int
    cpu_s: float
    memory_bytes: int

    def to_line(self) -> bytes:
        """Return the request as one line."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Restore what `to_line` wrote."""
        return cls(**json.loads(line))


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of a file: nothing against it, or the reason to refuse it."""

    reason: str = ""
    # Of the bytes that were vetted.
    sha256: str = ""
    # Of the files beside it, by the location that its tensors give.
    external: dict[str, str] = field(default_factory=dict)

    def to_line(self) -> bytes:
        """Return the verdict as one line."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Restore what `to_line` wrote; raise ValueError when it is cut off or of no such form."""
        values = json.loads(line)
        if not isinstance(values, dict) or set(values) != {"reason", "sha256", "external"}:
            msg = "expected a verdict"
            raise ValueError(msg)
        return cls(**values)
