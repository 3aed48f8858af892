"""Changes of what is served: loaded on a thread of their own, put in place on the loop's."""

from __future__ import annotations

import gc
import logging
import queue
import threading
from collections.abc import Callable, Iterator

from isotherm.server.errors import LoadError, ServerError
from isotherm.server.loader import Loader
from isotherm.server.loop import Loop
from isotherm.server.repository import Change, Prepared, Repository

_log = logging.getLogger(__name__)

# Told why it failed, or None.
Done = Callable[[ServerError | None], None]


class Changes:
    """One change after the other. Everything but the loading happens on the loop's thread."""

    def __init__(
        self,
        repository: Repository,
        loader: Loader,
        loop: Loop,
        committed: Callable[[Change], None],
    ) -> None:
        """`committed` is called with every change, when callers can be routed by it."""
        self._repository = repository
        self._loader = loader
        self._loop = loop
        self._committed = committed
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # Whether a look at the folder waits for its turn.
        self._reconciling = False
        # Set once the loop has put in place what the thread has loaded, or never will.
        self._settled = threading.Event()
        self._closed = False

    def load(self, name: str, done: Done) -> None:
        """Load what is on disk of one model, and let it serve."""
        self._submit(lambda: self._load(name, done))

    def unload(self, name: str, done: Done) -> None:
        """Let a model serve no more. A model that is not known is unloaded already."""

        def commit() -> None:
            self._commit(lambda: self._repository.unload(name), done)

        # Behind the loads that were asked for before it.
        self._submit(lambda: self._settle(commit))

    def reconcile(self) -> None:
        """Serve what is on disk now: new and changed models, and not those that are gone."""
        # One look that is still to come sees what this one would.
        if not self._reconciling:
            self._reconciling = True
            self._submit(self._reconcile)

    def close(self) -> None:
        """End the thread, after the load it is in; nothing is put in place any more."""
        self._closed = True
        self._settled.set()
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()

    def _submit(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
            self._thread.start()
        self._work.put(work)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001  a failed change must not end those to come
                _log.exception("this is a bug: a change raised")
        self._loader.rest()

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._work.get(timeout=self._loader.rest_in_s())
        except queue.Empty:
            self._loader.rest()
            return self._work.get()

    def _load(self, name: str, done: Done) -> None:
        try:
            prepared = self._repository.prepare(name, self._loader, retry=True)
        except ServerError as error:
            # The handler's name is gone when the loop calls back.
            failure = error
            self._loop.call_soon_threadsafe(lambda: done(failure))
            return
        self._settle(
            lambda: self._commit(lambda: self._repository.commit(prepared), done, prepared)
        )

    def _reconcile(self) -> None:
        self._reconciling = False
        try:
            prepared = list(self._prepare_all())
        except ServerError as error:
            _log.warning("the model repository could not be read: %s", error)
            return
        self._settle(lambda: self._commit_all(prepared))

    def _settle(self, commit: Callable[[], None]) -> None:
        """Have the loop put a change in place, and wait for that: the next one looks at it."""

        def run() -> None:
            try:
                commit()
            finally:
                self._settled.set()

        self._settled.clear()
        self._loop.call_soon_threadsafe(run)
        # After `clear`, since `close` sets it once.
        if not self._closed:
            self._settled.wait()

    def _prepare_all(self) -> Iterator[Prepared]:
        for name in self._repository.names():
            try:
                yield self._repository.prepare(name, self._loader)
            except ServerError as error:
                _log.warning("%s", error)

    def _commit_all(self, prepared: list[Prepared]) -> None:
        try:
            for one in prepared:
                self._announce(self._repository.commit(one))
            on_disk = {one.name for one in prepared}
            for name in {entry.name for entry in self._repository.entries()} - on_disk:
                self._announce(self._repository.unload(name))
        finally:
            self._reconciling = False

    def _commit(
        self, commit: Callable[[], Change], done: Done, prepared: Prepared | None = None
    ) -> None:
        self._announce(commit())
        reasons = prepared.failures if prepared is not None else []
        done(LoadError("; ".join(reasons)) if reasons else None)

    def _announce(self, change: Change) -> None:
        if change.added or change.removed:
            self._committed(change)
            # Sessions are held by their endpoints alone; what else refers to them are cycles.
            gc.collect()
        elif change.changed:
            self._committed(change)
