"""Pages; the only home of nicegui."""
