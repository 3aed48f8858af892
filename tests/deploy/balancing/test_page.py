"""docs/balancing.md names what there is, and shows what was measured."""

from __future__ import annotations

import re
from typing import Any

import grpc

from isotherm.v1 import open_inference_pb2 as pb
from tests.deploy.balancing.page import PAGE, channel_options, service_config
from tests.deploy.places import ROOT
from tests.support.rpc import error_of

TEXT = PAGE.read_text()


def test_every_file_that_the_page_names_exists() -> None:
    """A moved file takes the page along."""
    named = set(re.findall(r"\b(?:deploy|tests)/[\w./-]*\w", TEXT))
    linked = {f"docs/{name}" for name in re.findall(r"\]\(([\w-]+\.md)", TEXT)}

    assert len(named) > 4
    assert not {name for name in named | linked if not (ROOT / name).exists()}


def test_grpc_takes_the_settings_to_copy() -> None:
    """A service config that gRPC cannot read fails every call, and says so."""
    good = service_config()
    bad = {**good, "healthCheckConfig": 1}

    assert len(channel_options(good)) == 4
    assert "service config" not in reason(good)
    assert "service config" in reason(bad)


def reason(config: dict[str, Any]) -> str:
    """Return why a call fails with these settings, where nobody is."""
    with grpc.insecure_channel("ipv4:127.0.0.1:1", channel_options(config)) as channel:
        return error_of(channel, "ServerLive", pb.ServerLiveRequest())[1].lower()


def test_the_page_shows_what_was_measured() -> None:
    """A row for each way to balance, made by the command that the page names."""
    measured = TEXT.partition("<!-- begin: measured -->")[2].partition("<!-- end")[0]
    rows = [line for line in measured.splitlines() if line.startswith("| ")]

    assert len(rows) > 8
    assert "`make bench-balancing`" in TEXT
