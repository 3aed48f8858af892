"""The wire protocol, the artefact contract and the tensor codec."""
