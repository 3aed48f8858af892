"""grpc.server as one writes it by hand: a pool of threads that run the model, without batching."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

import os
from concurrent import futures

import grpc
import messages
from onnx_model import OnnxModel

from isotherm.v1 import open_inference_pb2 as pb


def main() -> None:
    """Serve until terminated."""
    model = OnnxModel()

    def infer(
        request: pb.ModelInferRequest, _context: grpc.ServicerContext
    ) -> pb.ModelInferResponse:
        return messages.answer_of(model(messages.array_of(request)))

    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=THREADS), options=[("grpc.so_reuseport", 1)]
    )
    service, method = messages.METHOD.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    server.wait_for_termination()


# As in gRPC's own examples (grpc/examples/python/helloworld).
THREADS = 10

if __name__ == "__main__":
    # One process a core on one port: grpc/examples/python/multiprocessing.
    for _ in range(int(os.environ["WORKERS"]) - 1):
        if os.fork() == 0:
            break
    main()
