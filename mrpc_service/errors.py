"""Why mrpcd cannot start, or an operator's request cannot be met: one line that says what to do."""

from __future__ import annotations


class StartupError(Exception):
    """The daemon cannot start; the text is one line for the operator. Exit code 1."""


class ConfigError(Exception):
    """Configuration documents are wrong; one line for each fault, each naming file, document and field."""
