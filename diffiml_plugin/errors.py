"""Errors that a user can cause and mend."""


class UserError(Exception):
    """Bad input; its one sentence names the file or key and the mend."""
