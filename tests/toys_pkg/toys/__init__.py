"""A tiny family of components and two steps, for tests of the core."""
