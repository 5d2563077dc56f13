"""The method: DiffIML."""
