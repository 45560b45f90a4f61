# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client for what runs beside a guest: commands, and events in order."""

import json
import socket
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

Message = Dict[str, Any]


class Refused(Exception):
    """What QEMU says when it does not do what it is told."""


class Qmp:
    """One connection; the VM may still be starting."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.events: List[Message] = []
        end = time.monotonic() + timeout
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        self.stream = self.socket.makefile('rw', encoding='utf-8')
        self._receive()
        self.command('qmp_capabilities')

    def _receive(self) -> Message:
        """The next message; EOFError when the VM has ended."""
        try:
            line = self.stream.readline()
        except ConnectionError:
            line = ''
        if not line:
            raise EOFError
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def command(self, name: str,
                arguments: Optional[Mapping[str, Any]] = None) -> Any:
        """Run a command; events that come first are kept."""
        self.stream.write(json.dumps({'execute': name,
                                      'arguments': arguments or {}}) + '\n')
        self.stream.flush()
        while True:
            message = self._receive()
            if 'event' in message:
                self.events.append(message)
            elif 'return' in message:
                return message['return']
            else:
                raise Refused(message['error']['desc'])

    def event(self) -> Message:
        """The next event."""
        while not self.events:
            message = self._receive()
            if 'event' in message:
                self.events.append(message)
        return self.events.pop(0)

    def stats(self, node: str = 'disk') -> Dict[str, int]:
        """The figures of the device that has a node."""
        for disk in self.command('query-blockstats'):
            if disk.get('node-name') == node:
                stats = disk['stats']
                assert isinstance(stats, dict)
                return stats
        raise LookupError(node)
