"""HTTP routes: each translates to and from the engine's one request type."""
