"""Documents: sources, filters, builders."""
