"""Ways to ask a model without training it, one file a kind."""
