"""What a user did that cannot work, in one sentence: what was expected, what came, what to do."""


class UserError(Exception):
    """Shown without a stack trace; the command ends with exit code 2."""
