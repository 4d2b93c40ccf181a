"""Schemas of built-in and custom kinds, and what is done by them: decoding, defaulting, validating."""
