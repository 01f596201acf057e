"""Classic tasks, one file a kind."""
