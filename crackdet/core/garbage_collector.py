"""Python's garbage collector, which looks at very many objects again and again while they are made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Without it for the time of a block: a third of the time where runs or photographs are listed by the thousand."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
