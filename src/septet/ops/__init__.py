"""Around the work: sinks for events, model cards, audit."""
