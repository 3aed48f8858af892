"""Reading a Dockerfile: its instructions and stages."""

import json
import re
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction: its word, and the rest of its lines as one."""

    word: str
    value: str


def instructions(path: Path) -> list[Instruction]:
    """All instructions of a file; no comments."""
    joined = re.sub(r"\\\n\s*", "", path.read_text())
    lines = (line for line in joined.splitlines() if line and not line.startswith("#"))
    return [Instruction(*line.split(maxsplit=1)) for line in lines]


def stages(path: Path) -> dict[str, list[Instruction]]:
    """The instructions of each stage, by its name."""
    found: dict[str, list[Instruction]] = {}
    for instruction in instructions(path):
        if instruction.word == "FROM":
            found[instruction.value.rpartition(" AS ")[2]] = []
        elif found:
            found[list(found)[-1]].append(instruction)
    return found


def commands(path: Path) -> list[list[str]]:
    """What CMD, ENTRYPOINT and HEALTHCHECK run; fails on a command for a shell."""
    return [
        json.loads(value[value.index("[") :] if "[" in value else value)
        for word, value in instructions(path)
        if word in {"CMD", "ENTRYPOINT", "HEALTHCHECK"}
    ]
