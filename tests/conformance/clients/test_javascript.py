"""`@grpc/grpc-js` with the public .proto file, as a user of JavaScript would call the server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.environments import ROOT, node_modules
from tests.support.server import Server

SCRIPT = """
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const definition = loader.loadSync(process.argv[3], { keepCase: true, longs: Number });
const inference = grpc.loadPackageDefinition(definition).inference;
const client = new inference.GRPCInferenceService(
  process.argv[2], grpc.credentials.createInsecure());

const request = {
  model_name: "doubling",
  id: "from-js",
  inputs: [{ name: "x", datatype: "FP32", shape: [2, 1],
             contents: { fp32_contents: [1.5, 21.0] } }],
};
client.ModelInfer(request, (error, answer) => {
  if (error) throw error;
  const raw = answer.raw_output_contents[0];
  console.log(answer.id, raw.readFloatLE(0), raw.readFloatLE(4));
  client.ModelReady({ name: "nobody" }, (refused) => {
    console.log(refused.code === grpc.status.NOT_FOUND ? "NOT_FOUND" : refused);
    client.close();
  });
});
"""


@pytest.mark.slow
def test_javascript_calls_the_server_with_the_public_file(server: Server, tmp_path: Path) -> None:
    """Typed in, raw out, and a status code that says what was wrong."""
    node = shutil.which("node")
    assert node is not None
    script = tmp_path / "client.js"
    script.write_text(SCRIPT)
    proto = ROOT / "proto" / "isotherm" / "v1" / "open_inference.proto"

    result = subprocess.run(
        [node, script, server.address, proto],
        env=os.environ | {"NODE_PATH": str(node_modules())},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["from-js", "3", "42", "NOT_FOUND"]
