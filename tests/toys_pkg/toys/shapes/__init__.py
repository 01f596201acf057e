"""Shapes for tests."""
