"""Ways to choose the examples of a prompt, one file a kind."""
