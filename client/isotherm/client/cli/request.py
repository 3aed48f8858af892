"""What `isotherm predict` was asked for, its flags checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isotherm.client.cli.failure import Misuse
from isotherm.client.cli.readers import InputFormat
from isotherm.client.cli.writers import BY_SUFFIX, Format

STANDARD: Final = Path("-")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The rows, what becomes of them, and where it goes.

    Attributes:
        name: The model.
        version: Its version; the server's choice if there is none.
        values: Rows on the command line.
        data: The file of the rows; `-` is standard input.
        input_format: How they are written, if the suffix does not say it.
        output: The file of the answers; `-`, like none, is standard output.
        format: How they are written, if it was said.
        features: Whether they have the features' columns.
        batch_rows: Rows a call at the most.
        offset: Rows at the front that are not wanted.
        resume: Whether to go on behind the rows that the output has.
        overwrite: Whether to begin an output anew that has rows.
    """

    name: str
    version: int | None
    values: Sequence[str]
    data: Path | None
    input_format: InputFormat | None
    output: Path | None
    format: Format | None
    features: bool
    batch_rows: int
    offset: int
    resume: bool
    overwrite: bool

    @property
    def source(self) -> Path | None:
        """The file of the rows; None is standard input."""
        return None if self.data == STANDARD else self.data

    @property
    def target(self) -> Path | None:
        """The file of the answers; None is standard output."""
        return None if self.output == STANDARD else self.output

    @property
    def form(self) -> Format:
        """How the answers are written."""
        if self.format is not None:
            return self.format
        return Format.TABLE if self.target is None else BY_SUFFIX[self.target.suffix.lower()]

    def check(self) -> None:
        """Raise Misuse for flags that do not go together."""
        if bool(self.values) == (self.data is not None):
            msg = f"give the rows for '{self.name}' as values or as --data FILE, one of the two"
            raise Misuse(msg)
        if self.values and (self.offset or self.resume or self.input_format):
            msg = "--offset, --resume and --input-format are for --data FILE, not for values"
            raise Misuse(msg)
        if self.resume and self.overwrite:
            msg = "--resume goes on with what --output has, --overwrite begins anew: give one"
            raise Misuse(msg)
        if self.target is None:
            self._check_standard_output()
        else:
            self._check_file(self.target)

    def _check_standard_output(self) -> None:
        if self.resume or self.overwrite:
            flag = "--resume" if self.resume else "--overwrite"
            msg = f"{flag} needs --output FILE; to leave rows out there is --offset N"
            raise Misuse(msg)

    def _check_file(self, target: Path) -> None:
        if self.format is None and target.suffix.lower() not in BY_SUFFIX:
            known = ", ".join(BY_SUFFIX)
            msg = f"the suffix of --output {target} is none of {known}: say the form with --format"
            raise Misuse(msg)
        if self.form is Format.TABLE:
            msg = f"a table is for the screen; for {target} say --format csv, or another one"
            raise Misuse(msg)
        if not (self.resume or self.overwrite) and target.is_file() and target.stat().st_size:
            msg = f"{target} is there: go on with it by --resume, or begin anew by --overwrite"
            raise Misuse(msg)
        if self.source is not None and target.exists() and target.samefile(self.source):
            msg = f"--data and --output are the same file, {target}"
            raise Misuse(msg)
