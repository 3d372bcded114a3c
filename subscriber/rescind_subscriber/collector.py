"""The garbage collector, held for the moments in which a large state is loaded.

A hundred thousand revocations are made and none is garbage: each run in between looks at all of
them in vain, and took half of the time of a start. Once loaded they cost it next to nothing, for
structs without references to containers are not tracked.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """Switch automatic collection off for a moment, unless the process has done so itself."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
