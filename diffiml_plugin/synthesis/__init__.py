"""Forgeries of known kind, made of photographs, with their masks."""
