"""Retrievers: one file a kind."""
