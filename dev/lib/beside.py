# SPDX-License-Identifier: GPL-2.0-or-later
"""For what runs on the host beside a guest: results, and words with the guest.

The guest says `tell_host WORD` (dev/lib/load.sh); wait_for(WORD) then returns,
and the guest waits for go_on().
"""

import socket
import sys
import time
from pathlib import Path

from qmp import Qmp


class Beside:
    """The host's side."""

    def __init__(self):
        path = Path(sys.argv[1])
        self.qmp = Qmp(str(path))
        self.results = path.with_name('results')
        self.words = socket.socket(socket.AF_UNIX)
        self.words.connect(str(path.with_name('word')))
        self.heard = 0

    @staticmethod
    def result(good, what):
        """One assertion."""
        print('ok' if good else 'not ok', what, flush=True)

    def wait_for(self, word, seconds=120):
        """
        Wait for a word from the guest; words come in order. Returns what else
        is in its line.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            lines = self.results.read_text('utf-8', 'replace').split('\n')[:-1]
            for i in range(self.heard, len(lines)):
                if lines[i].startswith(f'# {word}'):
                    self.heard = i + 1
                    return lines[i][len(word) + 2:].strip()
            time.sleep(0.1)
        raise TimeoutError(f'the guest has not said: {word}')

    def go_on(self):
        """Let the guest go on."""
        self.words.sendall(b'go\n')

    def refused(self, command, /, **arguments):
        """What QEMU says when it refuses a command, else an empty text."""
        try:
            self.qmp.command(command, **arguments)
        except RuntimeError as error:
            return str(error)
        return ''

    def stats(self, node='disk'):
        """The figures of the device that has a node."""
        for disk in self.qmp.command('query-blockstats'):
            if disk.get('node-name') == node:
                return disk['stats']
        raise LookupError(node)

    def wait_end(self):
        """Until the VM ends."""
        try:
            while True:
                self.qmp.event()
        except EOFError:
            pass
