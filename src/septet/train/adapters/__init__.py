"""Ways to adapt a model, one file a kind."""
