"""What a user can do wrong. The command line prints the message as one line and exits with 2."""

NON_JOINER = "\u200c"  # zero-width, and part of how Persian is written


def printable(text: str) -> str:
    """One line without what steers a terminal: ids, titles and values of files come from strangers."""
    return "".join(sign if sign.isprintable() or sign == NON_JOINER else " " for sign in text)


class UserError(ValueError):
    """Something the user can mend: the message says where, what was found, and what is allowed, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def missing_extra(extra: str, package: str) -> UserError:
    """The error for an optional dependency that is not installed."""
    return UserError(f"{package} is not installed: needs the extra {extra!r}: pip install 'gnnrec[{extra}]'")


def damaged(where: object, error: BaseException) -> UserError:
    """The error for a file that cannot be read; one that says where and why already stays as it is."""
    return error if isinstance(error, UserError) else UserError(f"{where}: damaged or missing: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """The reason that a library gives, in a line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)


def count(number: int, noun: str) -> str:
    """1 row, 2 rows, 90,274 rows."""
    return f"{number:,} {noun}" + "s" * (number != 1)
