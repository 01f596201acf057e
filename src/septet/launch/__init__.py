"""How a recipe's steps are run."""
