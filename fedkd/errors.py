"""What a user did that cannot work, in one sentence: what was expected, what came, what to do."""


class UserError(Exception):
    """Shown without a stack trace; the command ends with exit code 2."""


def reason_of(error: BaseException) -> str:
    """An error in one line, for whoever is far from its stack trace."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
