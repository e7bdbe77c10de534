"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake that the user can mend: one sentence with the value, the bound, the cause and the next step.

    The command line prints it as ``error: ...`` and exits with status 2; a library user sees it as it is.
    """
