"""Ways to run a model, one file a kind."""
