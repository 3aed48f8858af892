"""The guides' pages: their files are written, their commands run, what they print is compared.

A block whose first line is a comment with a file's name is that file. In a `console` block a line
that begins with `$ ` is a command; it goes on while it ends with a backslash, or until the END of a
here-document. What stands below it is what it prints. A `pycon` block is typed at a prompt of
Python, line by line.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lesson.printouts import difference
from tests.support.environments import ROOT

SERVE = "isotherm serve "
# What a command ends with that goes on; a test starts it itself.
BACKGROUND = " &"
# What a command of a page may take at the most.
TIMEOUT_S = 120
# Processors differ in the last digits.
RELATIVE = 1e-3

# Blocks are matched first: a comment in one may look like a heading.
_PART = re.compile(
    r"^```(?P<language>\w+)\n(?P<code>.*?)^```$|^##? (?P<heading>[^\n]*)$", re.DOTALL | re.MULTILINE
)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:]*)(?:#([\w-]+))?\)")
_FILE = re.compile(r"(?:#|//) (?P<name>[\w.-]+\.\w+)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code; `file` is empty where it does not name one."""

    language: str
    file: str
    code: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console, and what the page says that it prints."""

    line: str
    output: str


def sections(name: str) -> dict[str, list[Block]]:
    """Return the blocks of a page in docs/ by the heading that they stand under."""
    found: dict[str, list[Block]] = {}
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for match in _PART.finditer(text):
        if match["heading"]:
            blocks = found.setdefault(match["heading"], [])
            continue
        file = _FILE.match(match["code"])
        blocks.append(Block(match["language"], file["name"] if file else "", match["code"]))
    return found


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block."""
    found: list[Command] = []
    line, output = "", ""
    lines = iter(block.code.splitlines())
    for text in lines:
        if not text.startswith("$ "):
            output += f"{text}\n"
            continue
        if line:
            found.append(Command(line, output))
        line, output = text.removeprefix("$ "), ""
        while line.endswith("\\") or ("<<'END'" in line and not line.endswith("\nEND")):
            line += f"\n{next(lines)}"
    return [*found, Command(line, output)]


def server_flags(blocks: list[Block]) -> list[str]:
    """Return repository and flags of the server that a section starts; a test starts it."""
    (line,) = (
        command.line
        for block in blocks
        if block.language == "console"
        for command in commands(block)
        if command.line.startswith(SERVE)
    )
    return shlex.split(line.removeprefix(SERVE).removesuffix(BACKGROUND))


def broken_links(name: str) -> list[str]:
    """Return the links of a page into the repository that lead nowhere: no file, or no heading."""
    page = ROOT / "docs" / name
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    assert links
    return [f"{path}#{anchor}" for path, anchor in links if not _leads(page, path, anchor)]


def _leads(page: Path, path: str, anchor: str) -> bool:
    target = page.parent / path if path else page
    if not target.exists():
        return False
    headings = _HEADING.findall(target.read_text(encoding="utf-8")) if anchor else []
    return not anchor or anchor in map(_anchor, headings)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


class Reader:
    """Somebody who follows a page in a folder of their own.

    Args:
        folder: Where files are written and commands run.
        instead: What is put in place of words of the page, such as free ports for those it names.
    """

    def __init__(
        self, folder: Path, instead: Mapping[str, str], environment: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self._instead = dict(instead)
        self._environment = {**os.environ, **environment}

    def elsewhere(self, environment: Mapping[str, str]) -> Reader:
        """Return the same reader with other variables set."""
        return Reader(self.folder, self._instead, {**self._environment, **environment})

    def follow(self, blocks: list[Block]) -> list[str]:
        """Write each file and run each command; return what differs from the page."""
        wrong = []
        for block in blocks:
            if block.language == "console":
                wrong += [
                    self.try_out(command)
                    for command in commands(block)
                    if not command.line.endswith(BACKGROUND)
                ]
            elif block.file:
                self.write(block.file, block.code)
        return [text for text in wrong if text]

    def write(self, name: str, text: str) -> None:
        """Write a file of the page."""
        (self.folder / name).write_text(self.adapted(text))

    def try_out(self, command: Command) -> str:
        """Return how the output differs from the page's; the page may leave it out."""
        output = self.run(command.line)
        return difference(command.output, output, RELATIVE) if command.output else ""

    def run(self, line: str) -> str:
        """Return what a command prints; raise with everything where it fails."""
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.adapted(line)],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
        return result.stdout

    def adapted(self, text: str) -> str:
        """Return a text of the page as it is for this reader."""
        return replaced(text, self._instead)


class Prompt:
    """Somebody who types a page's `pycon` blocks at one prompt of Python, one after the other.

    Args:
        instead: As for `Reader`.
    """

    def __init__(self, instead: Mapping[str, str]) -> None:
        self._instead = dict(instead)
        # What has been typed so far: names stay from block to block.
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def type(self, blocks: list[Block]) -> list[str]:
        """Type each block; return what differs from the page."""
        wrong: list[str] = []
        # A page shows one line of a long traceback, or `...` for what changes from run to run.
        runner = doctest.DocTestRunner(_Checker(), verbose=False, optionflags=doctest.ELLIPSIS)
        for block in blocks:
            if block.language == "pycon":
                code = replaced(block.code, self._instead)
                examples = doctest.DocTestParser().get_examples(code)
                assert examples, code
                test = doctest.DocTest(examples, {}, "page", None, None, code)
                test.globs = self._names
                runner.run(test, out=wrong.append, clear_globs=False)
        return wrong


def replaced(text: str, instead: Mapping[str, str]) -> str:
    """Return a text with other words in place of some."""
    for word, other in instead.items():
        text = text.replace(word, other)
    return text


class _Checker(doctest.OutputChecker):
    """Compares as a reader does."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        """Tell whether a printout is the page's."""
        same = super().check_output(want, got, optionflags)
        return same or not difference(want, got, RELATIVE)
