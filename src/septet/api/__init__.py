"""HTTP: OpenAI-compatible routes and applications."""
