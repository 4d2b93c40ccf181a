"""Observing what no watch tells: pods' Events, who holds GPUs, ConfigMaps, what servers say of their start.

All of it is read only where a Workspace needs it, is bounded in time and number, and may fail: a diagnosis then says
less, and no reconcile waits or fails for it.
"""
