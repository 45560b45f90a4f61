# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-io that is told one command after the other."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Mapping, Optional, Type

PROMPT = b'qemu-io> '


class QemuIo:
    """
    It has one image open, until the block that it is in ends. What is written
    is flushed by the command for that, and only then.
    """

    def __init__(self, program: Path, options: str,
                 env: Mapping[str, str]) -> None:
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [program, '-t', 'writeback', '--image-opts', options], env=env,
            bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self._said()

    def __enter__(self) -> 'QemuIo':
        return self

    def __exit__(self, _kind: Optional[Type[BaseException]],
                 _value: Optional[BaseException],
                 _trace: Optional[TracebackType]) -> None:
        self.process.communicate()

    def _said(self) -> str:
        """What it has said when it waits for a command."""
        assert self.process.stdout
        said = b''
        while not said.endswith(PROMPT):
            more = self.process.stdout.read(4096)
            if not more:
                raise EOFError(said.decode())
            said += more
        return said[:-len(PROMPT)].decode()

    def tell(self, *commands: str) -> str:
        """What it says of these commands."""
        assert self.process.stdin
        said = ''
        for command in commands:
            # It does not see a second line that comes with the first.
            self.process.stdin.write(f'{command}\n'.encode())
            said += self._said()
        return said
