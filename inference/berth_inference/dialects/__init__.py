"""Translations from what clients send to the engine's one request type. Pure: no HTTP, no torch."""
