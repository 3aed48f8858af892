"""Something that is missing or wrong on this machine, in a sentence, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Which part it is about, from the one that is to be mended first.
About = Literal["onnxruntime", "driver", "device", "libraries", "provider", "memory"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do about it: both without a full stop."""

    about: About
    text: str
    remedy: str
    # False: it works for all that, but may not for long.
    blocks: bool = True

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}"
