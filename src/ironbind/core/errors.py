"""What goes wrong through no fault of the code. Imports nothing, so that every layer may raise it."""


class InputError(ValueError):
    """Something the user gave cannot be used: one line naming the file or option, the value, and what was expected."""

    def __init__(self, line: str) -> None:
        # names in damaged lists and files hold line breaks, and bytes that no terminal takes
        super().__init__(" ".join(line.splitlines()).encode("utf-8", "backslashreplace").decode("utf-8"))


class UnknownName(InputError, KeyError):
    """A name that a table does not hold; the message lists near misses."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr
