"""Demo data: photographs tampered in known ways, with their masks."""
