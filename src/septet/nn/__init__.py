"""Architectures and how their checkpoints are opened."""
