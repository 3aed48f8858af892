"""The gRPC services: messages in, messages out, errors to status codes."""
