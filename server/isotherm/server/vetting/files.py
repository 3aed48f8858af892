"""Files beside a model file: weights may lie in its version folder and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from isotherm.server.errors import LoadError


@dataclass(slots=True)
class ExternalFiles:
    """The files that a model's tensors refer to, found and bounded as they are named."""

    folder: Path
    # Of all of them together.
    max_bytes: int
    _paths: dict[str, Path] = field(default_factory=dict)

    def refer(self, tensor: str, location: str, offset: int, length: int) -> None:
        """Note that a tensor lies in a file; raise LoadError when it may not, or cannot."""
        path = self._paths.get(location)
        if path is None:
            path = self._paths[location] = self._find(tensor, location)
            if self.total_bytes > self.max_bytes:
                msg = (
                    f"its external data has {self.total_bytes} bytes, at most {self.max_bytes} "
                    "are allowed (--vetting-memory-mib)"
                )
                raise LoadError(msg)
        size = path.stat().st_size
        if min(offset, length) < 0 or offset + length > size:
            msg = (
                f"tensor '{tensor}' asks for {length} bytes at {offset} of '{location}', "
                f"which has {size}"
            )
            raise LoadError(msg)

    @property
    def total_bytes(self) -> int:
        """What the files have together."""
        return sum(path.stat().st_size for path in self._paths.values())

    def read(self) -> dict[str, bytes]:
        """Return what is in the files, by the location that tensors give."""
        return {location: path.read_bytes() for location, path in self._paths.items()}

    def _find(self, tensor: str, location: str) -> Path:
        folder = self.folder.resolve()
        path = Path(location)
        if not location or path.is_absolute() or ".." in path.parts:
            raise LoadError(_outside(tensor, location))
        if folder.exists() and folder.samefile(self.folder):
            # Links may lead from one file of the folder to another, not out of it.
            resolved = (folder / path).resolve()
        else:
            # It is reached through /proc/PID/root, as KServe's modelcars are, where a link's text
            # is that of another process: none is followed.
            folder = self.folder
            resolved = _without_links(folder, path)
        if not resolved.is_relative_to(folder):
            raise LoadError(_outside(tensor, location))
        if not resolved.is_file():
            msg = f"tensor '{tensor}' lies in '{location}', which is no file in the version folder"
            raise LoadError(msg)
        return resolved


def _without_links(folder: Path, path: Path) -> Path:
    """Return the path below a folder as it is; where a link is on the way, the root."""
    found = folder
    for part in path.parts:
        found /= part
        if found.is_symlink():
            return Path("/")
    return found


def _outside(tensor: str, location: str) -> str:
    return (
        f"tensor '{tensor}' lies in '{location}': external data must be a file in the version "
        "folder, named without '..', and no link that leads out of it"
    )
