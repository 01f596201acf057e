"""The HTTP endpoints: one file a group, each with a function `router(service)`."""
