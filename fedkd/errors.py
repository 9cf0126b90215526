"""What a user should be told in one sentence: what was expected, what came, what to do."""

import warnings


class UserError(Exception):
    """What cannot work. Shown without a stack trace; the command ends with exit code 2."""


class Remark(UserWarning):
    """What a run that goes on should be known for. Shown without a line of code, and once."""


def remark(sentence: str) -> None:
    """Say it as Python's warnings do, so that a program that uses fedkd can filter it."""
    warnings.warn(sentence, Remark, stacklevel=1)


def reason_of(error: BaseException) -> str:
    """An error in one line, for whoever is far from its stack trace."""
    kind, words = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, UserError):
        return words
    return f"{kind}: {words}" if words else kind
