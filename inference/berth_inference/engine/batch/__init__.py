"""Many requests at once: a scheduler without torch, a runner that owns the keys and values, one loop."""
