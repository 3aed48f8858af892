"""Files: the row groups of one or more Parquet files, taken as one table."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from isotherm.trainer.errors import DataError
from isotherm.trainer.sources import Source

SUFFIX: Final = ".parquet"

_PATTERN: Final = frozenset("*?[")
_PIECE: Final = 1 << 20
_HEAD_ROWS: Final = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """One row group.

    Attributes:
        file: its index in `Files.paths`.
        index: in the file.
        first: the number of its first row in the whole table, from 0.
    """

    file: int
    index: int
    first: int
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """What changes when a file is written again."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Look at a file."""
        found = path.stat()
        return cls(size=found.st_size, modified_ns=found.st_mtime_ns)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Files:
    """The files of a table, in the order of their names, and their row groups.

    Attributes:
        name: as errors call the table.
        schema: a `pyarrow.Schema`.
        stamps: of the files when they were first looked at.
    """

    name: str
    paths: tuple[Path, ...]
    schema: Any
    groups: tuple[Group, ...]
    stamps: tuple[Stamp, ...]

    @property
    def rows(self) -> int:
        """The number of rows of all files."""
        return sum(group.rows for group in self.groups)

    def where(self, group: Group) -> str:
        """Return what errors call a row group."""
        return f"row group {group.index} of '{self.paths[group.file]}'"

    def check(self, file: int) -> None:
        """Raise DataError where a file is not what it was when the training began."""
        path = self.paths[file]
        try:
            now = Stamp.of(path)
        except OSError as error:
            msg = f"'{path}' is gone since the training began ({error.strerror}); put it back"
            raise DataError(msg) from error
        if now != self.stamps[file]:
            msg = (
                f"'{path}' has changed since the training began ({self.stamps[file].size} bytes "
                f"then, {now.size} now); its statistics are no longer true: start again"
            )
            raise DataError(msg)

    def sha256(self) -> str:
        """Return the digest of the file's bytes; of several files, of all their digests."""
        digests = [_digest(path) for path in self.paths]
        return (
            digests[0]
            if len(digests) == 1
            else hashlib.sha256("".join(digests).encode()).hexdigest()
        )


def of(path: Path, names: Collection[str]) -> Files:
    """Return the row groups of a Parquet file, of all in a folder, or of all that a pattern names.

    Args:
        path: of any of them.
        names: of the columns that are read; whether files differ in others does not matter.

    Raises:
        DataError: there are none, one cannot be read, or these columns differ.
    """
    paths = _paths(path)
    name = f"'{path}'"
    groups: list[Group] = []
    stamps: list[Stamp] = []
    schema: Any = None
    first = 0
    for file, one in enumerate(paths):
        try:
            stamps.append(Stamp.of(one))
            with pq.ParquetFile(one) as opened:
                metadata, found = opened.metadata, opened.schema_arrow.remove_metadata()
        except (OSError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            msg = f"'{one}' is no Parquet file that can be read: {reason}"
            raise DataError(msg) from error
        schema = schema or found
        _check_schema(schema, found, names, paths[0], one)
        for index in range(metadata.num_row_groups):
            rows = metadata.row_group(index).num_rows
            if rows:
                groups.append(Group(file=file, index=index, first=first, rows=rows))
            first += rows
    if not groups:
        msg = f"{name} has no rows; expected a table to train on"
        raise DataError(msg)
    return Files(
        name=name, paths=tuple(paths), schema=schema, groups=tuple(groups), stamps=tuple(stamps)
    )


def head(files: Files) -> Source:
    """Return the first rows, with all columns."""
    group = files.groups[0]
    path = files.paths[group.file]
    try:
        with pq.ParquetFile(path) as opened:
            batches = opened.iter_batches(_HEAD_ROWS, row_groups=[group.index], use_threads=False)
            first = pa.Table.from_batches([next(batches)])
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        msg = f"{files.where(group)} cannot be read: {reason}; write the file again"
        raise DataError(msg) from error
    name = f"the beginning of {files.name}"
    return Source(name=name, columns=first, sha256="")


def streamable(path: Path) -> bool:
    """Whether a path names Parquet: a file, or what is read as many files."""
    return path.suffix.lower() == SUFFIX or path.is_dir() or bool(_PATTERN & set(str(path)))


def _paths(path: Path) -> Sequence[Path]:
    if path.is_dir():
        found = sorted(path.rglob(f"*{SUFFIX}"))
        # Leftovers of writers begin like this, and no reader of data sets takes them for data.
        found = [one for one in found if not _hidden(one.relative_to(path))]
        if not found:
            msg = f"'{path}' holds no file that ends in {SUFFIX}; name the folder of the table"
            raise DataError(msg)
        return found
    if path.exists():
        if path.suffix.lower() != SUFFIX:
            msg = (
                f"'{path}' cannot be streamed: only Parquet has row groups; write it as {SUFFIX}, "
                "or leave --stream out"
            )
            raise DataError(msg)
        return [path]
    if _PATTERN & set(str(path)):
        base = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(base.glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        if found:
            return found
        msg = f"no file matches '{path}'"
        raise DataError(msg)
    msg = f"cannot read '{path}': there is no such file or folder; expected Parquet"
    raise DataError(msg)


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _check_schema(schema: Any, found: Any, names: Collection[str], first: Path, path: Path) -> None:
    for name, kind in _types(schema):
        if name not in names:
            continue
        position = found.get_field_index(name)
        if position < 0:
            msg = f"'{path}' has no column '{name}', which '{first}' has; the files differ"
            raise DataError(msg)
        other = found.field(position).type
        if other != kind:
            msg = (
                f"column '{name}' is {other} in '{path}' and {kind} in '{first}'; write all files "
                "with the same types"
            )
            raise DataError(msg)


def _types(schema: Any) -> Iterator[tuple[str, Any]]:
    return ((field.name, field.type) for field in schema)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        msg = f"cannot read '{path}': {error.strerror}"
        raise DataError(msg) from error
    return digest.hexdigest()
