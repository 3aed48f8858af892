"""The GPU: what is there of it, and models that run on it."""
