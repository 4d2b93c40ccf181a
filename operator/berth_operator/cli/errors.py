"""What a command tells a user who cannot be helped further."""


class CliError(Exception):
    """The command failed; the message is one line that says what was wrong and what to do."""
