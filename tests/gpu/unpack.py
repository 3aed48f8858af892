"""Unpacks on a GPU machine what `bundle.py` has packed, and prints the environment to use it in.

    eval "$(python3 tests/gpu/unpack.py [--bundle build/gpu-bundle] [--to /tmp/isotherm-gpu])"

With the standard library alone. Does nothing twice. Our own source is used where it lies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("client", "proto", "server", "trainer")
H2LOAD = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/../h2load" exec "$here/../h2load/h2load" "$@"
"""


def main() -> None:
    """Unpack unless it is done, and print the exports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=ROOT / "build" / "gpu-bundle")
    parser.add_argument("--to", type=Path, default=Path(tempfile.gettempdir()) / "isotherm-gpu")
    arguments = parser.parse_args()
    folder: Path = arguments.to
    digests = (arguments.bundle / "parts.json").read_text()
    stamp = folder / "unpacked.json"
    if not (stamp.exists() and stamp.read_text() == digests):
        unpack(arguments.bundle, json.loads(digests), folder)
        stamp.write_text(digests)
    site = folder / "site"
    describe(site)
    libraries = [*nvidia(site)]
    environment = {
        "PYTHONPATH": ":".join(map(str, (site, ROOT, *(ROOT / name for name in SOURCES)))),
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
    }
    for name, value in environment.items():
        print(f'export {name}={shlex.quote(value)}"${{{name}:+:${name}}}"')
    print(f'export PATH={shlex.quote(str(folder / "bin"))}:"$PATH"')
    if not libraries:
        print(
            "no CUDA libraries of NVIDIA's packages are in this Python's folders", file=sys.stderr
        )


def unpack(bundle: Path, digests: dict[str, str], folder: Path) -> None:
    """Put the parts together and unpack them; raise SystemExit when one is missing or broken."""
    joined = folder / "packed.tar.xz"
    folder.mkdir(parents=True, exist_ok=True)
    with joined.open("wb") as output:
        for name, digest in sorted(
            digests.items(), key=lambda item: int(item[0].rpartition("-")[2])
        ):
            # A part may have come earlier, with another call.
            found = [place / name for place in (bundle, folder) if (place / name).exists()]
            data = found[0].read_bytes() if found else b""
            if hashlib.sha256(data).hexdigest() != digest:
                raise SystemExit(f"{name} is missing or broken: looked in {bundle} and {folder}")
            output.write(data)
    with tarfile.open(joined, "r:xz") as archive:
        archive.extractall(folder, filter="data")
    joined.unlink()
    starter = folder / "bin" / "h2load"
    if (folder / "h2load").exists():
        starter.parent.mkdir(exist_ok=True)
        starter.write_text(H2LOAD)
        starter.chmod(0o755)


def describe(site: Path) -> None:
    """Say what `pip install` would say of our source: its version and its commands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folder = site / f"isotherm-{project['version']}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")


def nvidia(site: Path) -> Iterator[Path]:
    """Yield the folders of NVIDIA's libraries, and link them to where ONNX Runtime looks."""
    for folder in map(Path, sys.path):
        found = sorted(folder.glob("nvidia/*/lib"))
        if not found or folder == site:
            continue
        link = site / "nvidia"
        if not link.exists():
            link.symlink_to(folder / "nvidia")
        yield from found
        return


if __name__ == "__main__":
    main()
