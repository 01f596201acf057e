"""The verbs: one step of a model's life a file."""
