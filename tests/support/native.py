"""Shared libraries made on the spot, to stand in for those of others."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

# What was compiled before, by all that it depends on: of a library it needs, that is its name.
_compiled: dict[tuple[str, ...], bytes] = {}


def build(folder: Path, soname: str, source: str, *links: Path) -> Path:
    """Compile C into `folder/soname`, which needs the libraries it `links`; return its path."""
    key = (soname, source, *(link.name for link in links))
    if key not in _compiled:
        _compiled[key] = _compile(soname, source, links)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / soname
    # Were it a link, what it leads to would be written.
    path.unlink(missing_ok=True)
    path.write_bytes(_compiled[key])
    return path


def _compile(soname: str, source: str, links: tuple[Path, ...]) -> bytes:
    flags = ("-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-Wl,-soname,{soname}")
    # Linked though nothing of them is called.
    needed = ("-Wl,--no-as-needed", *map(str, links))
    with TemporaryDirectory() as folder:
        path = Path(folder) / soname
        subprocess.run(
            ["cc", *flags, "-x", "c", "-", "-x", "none", *needed, "-o", str(path)],
            input=source,
            text=True,
            check=True,
            timeout=60,
        )
        return path.read_bytes()
