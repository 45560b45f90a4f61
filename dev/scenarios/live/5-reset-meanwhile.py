# SPDX-License-Identifier: GPL-2.0-or-later
"""Resets the VM while its guest writes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'lib'))
from beside import Beside  # noqa: E402, pylint: disable=wrong-import-position


def main():
    """In step with the guest."""
    beside = Beside()
    beside.qmp.command('set-action', reboot='reset')
    beside.wait_for('reset the machine')
    beside.qmp.command('system_reset')
    reasons = set()
    try:
        while True:
            event = beside.qmp.event()
            if event['event'] == 'RESET':
                reasons.add(event['data']['reason'])
    except EOFError:
        pass
    beside.result(reasons == {'host-qmp-system-reset', 'guest-reset'},
                  f'the machine was reset: {", ".join(sorted(reasons))}')


main()
