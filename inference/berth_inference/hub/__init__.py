"""Models of the Hugging Face hub on this machine: found, downloaded, checked, shared."""

from berth_inference.hub.finding import find_model

__all__ = ["find_model"]
