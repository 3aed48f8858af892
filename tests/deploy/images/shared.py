"""The images under test, in one store for all test processes of a run."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.deploy.images.containers import Store
from tests.deploy.manifests import container, read
from tests.deploy.places import DOCKERFILE, KUSTOMIZE, RENDERED, ROOT
from tests.deploy.processes import tool
from tests.support.environments import locked

FOLDER = ROOT / "build" / "containers"
# The Debian and the Python of the Dockerfile's own base, which only a registry has.
RELEASE = "trixie"
BASE_PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
BASE = "localhost/base:test"
RUNTIME = "localhost/runtime:test"
IMAGE = "localhost/isotherm:test"
# The name that the overlay dev has for it.
DEMO = f"localhost/{container(read(RENDERED[KUSTOMIZE / 'overlays' / 'dev']))['image']}"
# Nothing runs in a shell at run time: there is none.
_SHELLLESS = f"""
FROM {BASE}
RUN ["rm", "/usr/bin/bash", "/usr/bin/dash", "/usr/bin/sh"]
"""
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@contextmanager
def shared_store() -> Iterator[Store]:
    """The store with the base, the server's image and the demo's.

    Test processes share it: who comes first builds the images, who leaves last removes them.
    """
    if os.geteuid() != 0:
        pytest.skip("images are built and run by root")
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = FOLDER / "store"
    with (FOLDER / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with locked("images"):
            store = Store(folder)
        try:
            with locked("images"):
                _make(store)
            yield store
        finally:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                store.remove()


def _make(store: Store) -> None:
    """Make what is missing; even with all layers at hand, a build takes seconds."""
    made_of = store.folder / "made-of"
    context = _context()
    if store.exits("image", "exists", BASE):
        _make_base(store)
    elif made_of.exists() and made_of.read_text() == context:
        return
    _build(store, IMAGE)
    _build(store, DEMO, "--target", "demo")
    made_of.write_text(context)


def _context() -> str:
    """What the images are built from: the files of the build's context, by size and time."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [ROOT / rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    files = {file for source in sources for file in (source, *source.rglob("*"))}
    described = [
        f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}"
        for file in sorted({DOCKERFILE, *files})
        if file.is_file() and "__pycache__" not in file.parts
    ]
    return "\n".join(described)


def _build(store: Store, tag: str, *options: str) -> None:
    """Build an image on the base; what has not changed comes from the layers of earlier builds."""
    # The format of Docker has HEALTHCHECK, the one of OCI has not. The certificates are those that
    # this machine trusts, for a package index behind a proxy.
    store.buildah(
        *("build", "--quiet", "--layers", "--isolation", "chroot", "--format", "docker"),
        *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
        *("--build-arg", f"BASE={BASE}", "--build-arg", f"RUNTIME={RUNTIME}"),
        *("--build-arg", "VERSION=test"),
        *("--file", str(DOCKERFILE), "--tag", tag, *options, str(ROOT)),
    )


def _make_base(store: Store) -> None:
    """Make the base from Debian's packages, and from that the base of the finished image."""
    made = tool("mmdebstrap", "Debian's mmdebstrap")
    command = [made, "--quiet", "--variant=minbase", f"--include={BASE_PACKAGES}", RELEASE]
    tar = store.folder / "base.tar"
    store.output([*command, str(tar)], {"TMPDIR": str(store.folder)})
    store.podman("import", "--quiet", str(tar), BASE)
    tar.unlink()
    file = store.folder / "runtime.Dockerfile"
    file.write_text(_SHELLLESS)
    store.buildah(
        *("build", "--quiet", "--isolation", "chroot", "--file", str(file), "--tag", RUNTIME),
        str(store.folder / "networks"),
    )
