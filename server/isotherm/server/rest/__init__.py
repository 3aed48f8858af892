"""REST: the Open Inference Protocol in JSON, by a gateway that calls the workers over gRPC."""
