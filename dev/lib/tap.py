# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of tests as lines that dev/check reads (TAP)."""

from typing import Iterable, List


def lines(good: bool, what: str, details: Iterable[str] = ()) -> List[str]:
    """A result, and what is to be known of it."""
    return [f'{"ok" if good else "not ok"} {what}',
            *(f'# {line}' for line in details)]


def result(good: bool, what: str, details: Iterable[str] = ()) -> bool:
    """Print a result; whether it is good."""
    print('\n'.join(lines(good, what, details)), flush=True)
    return good


def is_failure(line: str) -> bool:
    """Whether a line is a result that is not good."""
    return line.startswith('not ok')
