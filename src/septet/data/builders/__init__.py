"""Builders of question-and-answer rows: one kind a file."""
