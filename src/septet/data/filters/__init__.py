"""Filters of documents: one kind a file."""
