"""Synthesis of forgeries of known kinds from photographs, with their masks."""
