"""One training loop, objectives and adapters."""
