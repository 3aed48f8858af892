"""Model files that are not trusted: each is read, loaded and run in a process that may fail.

The worker's end is `vetter`; `python -m isotherm.server.vetting` is the other. It alone knows onnx.
"""
