"""Search, answers with sources, and honest refusal. No training, no evaluation of models."""
