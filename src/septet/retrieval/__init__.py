"""Indexes over documents, and answers grounded in them."""
