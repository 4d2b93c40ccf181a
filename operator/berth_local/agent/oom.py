"""Whether the kernel ended processes for want of memory."""

from pathlib import Path

_COUNTERS = Path("/proc/vmstat")


def oom_kills() -> int:
    """Return how many processes the kernel's memory killer has ended since boot; 0 where the system does not say."""
    try:
        text = _COUNTERS.read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
