"""Encoders: one file a kind."""
