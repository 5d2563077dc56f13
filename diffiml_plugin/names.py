"""Names of files or folders."""

from .errors import UserError


def check_name(name: str, what: str) -> str:
    """Return a name if it is valid for a file or folder and cannot lead to another folder.

    Args:
        name (str): The name.
        what (str): Kind of the name, for the message.

    Raises:
        UserError: If the name is empty, is ``.`` or ``..``, is longer than 100 characters, or
            holds a slash, a backslash or a control character.
    """
    if (
        name in ('', '.', '..')
        or len(name) > 100
        or any(mark in '/\\' or not mark.isprintable() for mark in name)
    ):
        raise UserError(
            f'{what} {name!r} cannot name a folder: take up to 100 characters without / and \\'
        )
    return name
