"""Looks at a corpus as a whole: one kind a file."""
