"""Tasks of an evaluation, one file each."""
