"""Names that become files or folders."""

from .errors import UserError


def check_name(name: str, what: str) -> str:
    """Return a name if it names a file or a folder of its own, and none elsewhere.

    Args:
        name (str): The name.
        what (str): What it names, for the message.

    Raises:
        UserError: If it is empty, is ``.`` or ``..``, is longer than 100 characters, or holds a
            slash, a backslash or a control character.
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
