"""Samples, scorers and estimates with their errors."""
