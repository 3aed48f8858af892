"""RepositoryIndex: which versions were chosen to serve, in which state, and why."""

from __future__ import annotations

from isotherm.server.layout import ModelState
from isotherm.server.repository import Repository
from isotherm.v1 import open_inference_pb2 as pb


class RepositoryService:
    """Answers about the repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        """Answer every chosen version, or only those that are ready."""
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(
                    name=entry.name,
                    version=str(entry.version),
                    state=entry.state.name,
                    reason=entry.reason,
                )
                for entry in self._repository.entries()
                if not request.ready or entry.state is ModelState.READY
            ]
        )
