"""What a user can do wrong. The command line prints the message as one line and exits with 2."""


class UserError(ValueError):
    """Something the user can mend: the message says where, what was found, and what is allowed, in one line."""


def missing_extra(extra: str, package: str) -> UserError:
    """The error for an optional dependency that is not installed."""
    return UserError(f"{package} is not installed: needs the extra {extra!r}: pip install 'gnnrec[{extra}]'")


def first_line(error: BaseException) -> str:
    """The reason that a library gives, in a line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)


def count(number: int, noun: str) -> str:
    """1 row, 2 rows, 90,274 rows."""
    return f"{number:,} {noun}" + "s" * (number != 1)
