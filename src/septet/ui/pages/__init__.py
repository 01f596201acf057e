"""The pages: one file each, with `add(service)`, which registers it under its address."""
