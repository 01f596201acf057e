"""Sources of documents: one kind a file."""
