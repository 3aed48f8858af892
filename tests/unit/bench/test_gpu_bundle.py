"""What is carried to a GPU machine: reduced without moving a byte, put together, described."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.gpu import bundle, fatbin, unpack

SECTION = b".nv_fatbin"


def entry(architecture: int, code: bytes) -> bytes:
    """Return the code for one architecture as a block holds it."""
    header = struct.pack("<HHIQIIHHI", 2, 0x101, 64, len(code), 0, 0, 8, 1, architecture)
    return header.ljust(64, b"\0") + code


def block(*entries: bytes) -> bytes:
    """Return a block of code."""
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def library(*blocks: bytes) -> bytearray:
    """Return an ELF file with a section of device code, and one of names."""
    code, names = b"".join(blocks), b"\0" + SECTION + b"\0.names\0"
    headers_at = 64 + len(code) + len(names)
    sections = [(1, 64, len(code)), (2 + len(SECTION), 64 + len(code), len(names))]
    headers = b"".join(
        struct.pack("<IIQQQQ", name, 1, 0, 0, offset, size).ljust(64, b"\0")
        for name, offset, size in sections
    )
    head = bytearray(64)
    head[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", head, 0x28, headers_at)
    struct.pack_into("<HHH", head, 0x3A, 64, 2, 1)
    return head + code + names + headers


def test_only_one_architecture_stays_and_nothing_moves() -> None:
    """The code for others is zeroed where it lies; what surrounds it is untouched."""
    before = library(block(entry(80, b"A" * 24), entry(90, b"B" * 16)), block(entry(120, b"C" * 8)))
    after = bytearray(before)
    done = fatbin.reduce(after, 90, only_needed=False)

    assert (done.before_bytes, done.after_bytes) == (48, 16)
    assert len(after) == len(before)
    assert bytes(after).count(b"B" * 16) == 1
    assert b"A" not in after[64:]
    assert b"C" * 8 not in after
    # The code that went is nobody's: 75 is what marks it, in its header alone.
    changed = [at for at in range(len(after)) if after[at] != before[at]]
    assert {after[at] for at in changed} == {0, 75}


def test_what_is_laid_out_otherwise_is_refused() -> None:
    """An unknown header, an architecture that is not there, no device code at all."""
    with pytest.raises(fatbin.FormatError, match="no code for architecture 100, only for"):
        fatbin.reduce(library(block(entry(90, b"x" * 8))), 100, only_needed=False)
    with pytest.raises(fatbin.FormatError, match="no block of code at 0x40"):
        fatbin.reduce(library(b"\0" * 64), 90, only_needed=False)
    wrong = bytearray(entry(90, b"x" * 8))
    struct.pack_into("<Q", wrong, 8, 1 << 30)
    with pytest.raises(fatbin.FormatError, match="no entry of a block at 0x50"):
        fatbin.reduce(library(block(bytes(wrong))), 90, only_needed=False)
    beyond = struct.pack("<IHHQ", 0xBA55ED50, 1, 24, 0)
    with pytest.raises(fatbin.FormatError, match="ends at 0x58, its section at 0x50"):
        fatbin.reduce(library(beyond), 90, only_needed=False)
    with pytest.raises(fatbin.FormatError, match="not a 64-bit ELF file"):
        fatbin.reduce(bytearray(b"PK\3\4" * 40), 90, only_needed=False)


@pytest.mark.parametrize(
    ("functions", "stays"),
    [
        (b".text.flash_fwd .text.FusedMoe_gemm", False),
        (b".text.flash_fwd .text.relu", True),
        (b"no name at all", True),
    ],
)
def test_only_kernels_of_language_models_are_dropped_by_name(
    monkeypatch: pytest.MonkeyPatch, functions: bytes, stays: bool
) -> None:
    """Code of which one kernel is not one of theirs stays whole."""
    plain = SimpleNamespace(decompressobj=lambda: SimpleNamespace(decompress=bytes))
    zstandard = SimpleNamespace(ZstdDecompressor=lambda: plain)
    monkeypatch.setitem(sys.modules, "zstandard", zstandard)
    whole = library(block(entry(90, functions)))
    done = fatbin.reduce(whole, 90)

    assert done.after_bytes == len(functions) * stays
    assert (functions in whole) is stays


def test_what_sessions_need_is_packed_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs can be run, the CUDA library is reduced, and what no session opens stays here."""
    wheel, program = tmp_path / "a.whl", tmp_path / "h2load"
    program.write_text("#!/bin/sh\n")
    members = {
        "onnxruntime/__init__.py": b"1",
        "onnxruntime/transformers/bert.py": b"2",
        bundle.CUDA_LIBRARY: bytes(library(block(entry(80, b"A" * 8), entry(90, b"B" * 8)))),
    }
    with zipfile.ZipFile(wheel, "w") as writing:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if name.endswith(".so") else 0o100640) << 16
            writing.writestr(info, data)
    monkeypatch.setattr(bundle, "load_generator", lambda: {"h2load": program})
    content = bundle.pack([wheel], 90, only_needed=False)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:xz") as archive:
        modes = {one.name: one.mode for one in archive}
        packed = archive.extractfile(f"site/{bundle.CUDA_LIBRARY}")
        assert packed is not None
        code = packed.read()

    assert modes == {
        "site/onnxruntime/__init__.py": 0o640,
        f"site/{bundle.CUDA_LIBRARY}": 0o755,
        "h2load/h2load": 0o755,
    }
    assert b"B" * 8 in code
    assert b"A" * 8 not in code


def test_wheels_of_other_days_are_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the index spells their names."""
    pins = dict(
        line.split("==")
        for line in (bundle.ROOT / "constraints.txt").read_text().split()
        if "==" in line
    )
    today = {f"{name.replace('-', '_')}-{pins[name]}-py3-none-any.whl" for name in bundle.PACKAGES}

    def pip(command: str, *arguments: str) -> None:
        if command == "download":
            for name in {*today, "pluggy-0.1-py3-none-any.whl"}:
                (tmp_path / name).touch()

    monkeypatch.setattr(bundle, "pip", pip)
    monkeypatch.setattr(sys, "path", [*sys.path])

    assert {wheel.name for wheel in bundle.download(tmp_path)} == today


@pytest.fixture(name="packed")
def _packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of one file, in parts."""
    monkeypatch.setattr(bundle, "PART_BYTES", 20)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "brought.py").write_text("VERSION = 7\n")
    (tmp_path / "h2load").mkdir()
    (tmp_path / "h2load" / "h2load").write_text("#!/bin/sh\n")
    archive = tmp_path / "packed.tar.xz"
    with tarfile.open(archive, "w:xz") as writing:
        writing.add(tmp_path / "site", "site")
        writing.add(tmp_path / "h2load", "h2load")
    parts = bundle.split(archive.read_bytes(), tmp_path / "bundle")
    # Of two digits.
    assert len(parts) > 10
    return tmp_path / "bundle"


def unpacked(bundled: Path, to: Path) -> subprocess.CompletedProcess[str]:
    """Unpack it as a GPU machine would, with nothing but the standard library."""
    command = [sys.executable, "-I", unpack.__file__, "--bundle", str(bundled), "--to", str(to)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_packed_is_there_with_our_own_commands(packed: Path, tmp_path: Path) -> None:
    """Once and for all calls; the environment puts it, and our source, before what is installed."""
    to = tmp_path / "gpu"
    first = unpacked(packed, to)
    (to / "site" / "brought.py").write_text("VERSION = 8\n")
    second = unpacked(packed, to)

    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    exports = dict(line[7:].split("=", 1) for line in first.stdout.splitlines())
    # Every source root that an installation would have, and what was brought before all.
    assert exports["PYTHONPATH"].startswith(f"{to}/site:{bundle.ROOT}:{bundle.ROOT}/client:")
    assert exports["PYTHONPATH"].count(str(bundle.ROOT)) == 5
    assert (to / "site" / "brought.py").read_text() == "VERSION = 8\n"
    assert (to / "bin" / "h2load").stat().st_mode & 0o100
    (ours,) = metadata.distributions(name="isotherm", path=[str(to / "site")])
    installed = metadata.distribution("isotherm")
    assert ours.version == installed.version
    assert {entry.value for entry in ours.entry_points} >= {
        "isotherm.client.cli:main",
        "isotherm.server.__main__:app",
    }


def test_a_broken_part_is_refused(packed: Path, tmp_path: Path) -> None:
    """Before anything is unpacked, with the part's name."""
    (packed / "part-1").write_bytes(b"?")
    result = unpacked(packed, tmp_path / "gpu")

    assert result.returncode != 0
    assert "part-1 is missing or broken" in result.stderr
    assert not (tmp_path / "gpu" / "site").exists()


def test_a_part_may_have_come_with_an_earlier_call(packed: Path, tmp_path: Path) -> None:
    """Where the machine takes no more at once: what lies in the target already is used."""
    to = tmp_path / "gpu"
    to.mkdir()
    (packed / "part-0").rename(to / "part-0")

    assert unpacked(packed, to).returncode == 0


def test_all_that_is_packed_is_pinned() -> None:
    """Each package has its version in constraints.txt, under that very name."""
    pins = (bundle.ROOT / "constraints.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in pins}

    assert [name for name in bundle.PACKAGES if name not in names] == []
