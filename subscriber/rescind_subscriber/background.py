"""Work in a thread of its own, beside the calls: started, stopped, begun anew in a forked child."""

import threading
from typing import Self

from rescind_guard import forks

STOP_WITHIN_S = 2.0
"""What is under way then ends by itself."""


class Background:
    """Whoever has such work says what it is in `_run`."""

    THREAD = "rescind"

    def __init__(self) -> None:
        self._reset()
        forks.tell(self)

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def _run(self, stopping: threading.Event) -> None:
        """Work until that is set; on the thread."""
        raise NotImplementedError

    def start(self) -> Self:
        """Begin, in a thread; returns at once."""
        if self._thread is None:
            self._launch()
        return self

    def _launch(self) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(self._stopping,), name=self.THREAD, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End; what was done stays."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN_S)
        self._reset()

    def after_fork(self) -> None:
        """In the child: a thread of its own."""
        running = self._thread is not None
        self._reset()
        if running:
            self.start()
