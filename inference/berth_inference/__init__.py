"""The Berth inference server: one process, one model, HTTP in front of a generation engine.

Importing this package is cheap: torch and transformers are imported by the loader, after the
socket is bound, so that health checks are answered from the first second.
"""
