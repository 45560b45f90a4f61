# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs in the background, each known by a file with its number.

A number may have come to be another process's. So the whole command line is
compared, and the process held by a pidfd, before anything is done to it.
"""

import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Optional

PATIENCE = 15           # seconds between SIGTERM and SIGKILL


class Daemon:
    """One program, that has been started or not."""

    def __init__(self, command: List[str], pid_file: Path,
                 output: Path) -> None:
        self.command = command
        self.pid_file = pid_file
        self.output = output

    def start(self, env: Dict[str, str]) -> None:
        """In a session of its own, so that it outlives a terminal, and in /.

        Debian 13's OSDs look for their plugins from there.
        """
        with open(self.output, 'ab') as output:
            # pylint: disable-next=consider-using-with
            process = subprocess.Popen(
                self.command, cwd='/', env=env, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True)
        self.pid_file.write_text(f'{process.pid}\n', encoding='ascii')
        # Its command line is empty for a moment.
        while self.pid() is None and process.poll() is None:
            time.sleep(0.005)
        # Else there would be a warning that it still runs.
        process.returncode = 0

    def _number(self) -> Optional[int]:
        try:
            return int(self.pid_file.read_text(encoding='ascii'))
        except (OSError, ValueError):
            return None

    def _open(self) -> Optional[int]:
        """A pidfd of the process, if it runs."""
        pid = self._number()
        if pid is None:
            return None
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return None
        # From here on the number cannot come to be another one's.
        try:
            line = Path(f'/proc/{pid}/cmdline').read_bytes()
        except OSError:
            line = b''
        if line == b''.join(os.fsencode(w) + b'\0' for w in self.command):
            return handle
        os.close(handle)
        return None

    def pid(self) -> Optional[int]:
        """Its number, if it runs."""
        handle = self._open()
        if handle is None:
            return None
        os.close(handle)
        return self._number()

    def tell(self, number: int) -> Optional[int]:
        """Send a signal, if it runs; then this is what to wait for."""
        handle = self._open()
        if handle is not None:
            signal.pidfd_send_signal(handle, number)
        return handle

    def wait(self, handle: Optional[int]) -> None:
        """Until it has ended, with SIGKILL if that takes too long."""
        if handle is not None:
            if not select.select([handle], [], [], PATIENCE)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [])
            os.close(handle)
        self._reap()
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """At once, without a chance to put anything in order."""
        self.wait(self.tell(signal.SIGKILL))

    def _reap(self) -> None:
        """If it was a child of this process."""
        pid = self._number()
        if pid is not None:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
