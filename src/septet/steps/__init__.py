"""The verbs of a model's life, one short file each."""
