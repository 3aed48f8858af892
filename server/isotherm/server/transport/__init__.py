"""gRPC transports: bytes of calls in, bytes of answers out. They know no model and no service."""
