"""Documents: reading, filtering, splitting; rows of questions and answers; packed batches."""
