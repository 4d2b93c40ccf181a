"""Planning: pure functions from a Workspace and what was observed to objects, conditions and Events."""
