"""The applications that can be served: one file a kind, each an `App`."""
