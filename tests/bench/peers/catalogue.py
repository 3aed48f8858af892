"""All peers, in the order in which they run and are printed."""

from __future__ import annotations

from tests.bench.peers import (
    bare_grpc,
    bentoml,
    fastapi,
    isotherm,
    kserve,
    litserve,
    mlserver,
    ray,
    triton,
)
from tests.bench.peers.peer import Peer


def peers(only: str | None = None) -> list[Peer]:
    """Return the peers whose names begin with one of `only`, or all."""
    # Ours and Triton's, whose ratios matter most, run next to each other.
    pairs = zip(isotherm.peers(), triton.peers(), strict=True)
    found = [
        *(peer for pair in pairs for peer in pair),
        *mlserver.peers(),
        *kserve.peers(),
        *ray.peers(),
        *bare_grpc.peers(),
        *fastapi.peers(),
        *bentoml.peers(),
        *litserve.peers(),
    ]
    if only is None:
        return found
    beginnings = tuple(name.strip().lower() for name in only.split(","))
    return [peer for peer in found if peer.name.lower().startswith(beginnings)]
