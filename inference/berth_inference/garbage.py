"""Python's search for cycles of garbage, kept away from what lives as long as the process.

The libraries make about a million objects while they are imported, and none of them becomes garbage.
Searching them takes a sixth of the start's processor time, and 0.2 s with every thread stopped each
time that the server is searched whole later on: more than a health check may take.
"""

from __future__ import annotations

import gc


def let_imports_be() -> None:
    """Search nothing from here on; `search_the_rest` ends it."""
    gc.disable()


def search_the_rest() -> None:
    """Search from here on, but nothing that there is already. Call it where no garbage can be large yet."""
    gc.freeze()
    gc.enable()


def keep_what_is_loaded() -> None:
    """Free what loading has left, and never search the rest of it again."""
    gc.collect()
    gc.freeze()
