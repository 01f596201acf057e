"""Steps that outside packages would add."""
