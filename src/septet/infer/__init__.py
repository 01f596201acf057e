"""Running models for all who only use them."""
