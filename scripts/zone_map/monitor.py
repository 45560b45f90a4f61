# SPDX-License-Identifier: GPL-2.0-or-later
"""
A QMP monitor, for one who asks the same thing several times a second.

That is to cost next to nothing, as who asks may share two processors with the
guest that is looked at: with qemu.qmp, which has a task for each direction and
an event loop for each command, a look took most of its time in there.
"""

import json
import socket
from typing import Any, Dict, List, Tuple, Union

Message = Dict[str, Any]
Command = Tuple[str, Dict[str, Any]]

# What a monitor is given time for, in seconds
TIMEOUT = 30.0


class MonitorError(Exception):
    """There is no monitor, or no more."""


def parse_address(address: str) -> Union[str, Tuple[str, int]]:
    """HOST:PORT, or a path"""
    host, colon, port = address.rpartition(':')
    if colon and ':' not in host and port.isdecimal():
        return host, int(port)
    return address


def connect(where: Union[str, Tuple[str, int]]) -> socket.socket:
    """To a host's port, or a socket file"""
    if not isinstance(where, str):
        return socket.create_connection(where, TIMEOUT)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    try:
        connection.connect(where)
    except OSError:
        connection.close()
        raise
    return connection


class Monitor:
    """A connection."""

    def __init__(self, address: str) -> None:
        self._left = b''            # of what was received
        try:
            self._socket = connect(parse_address(address))
        except OSError as error:
            raise MonitorError(error.strerror or str(error)) from error
        try:
            if 'QMP' not in self._receive():
                raise MonitorError('this is no QMP monitor')
            answer, = self.run([('qmp_capabilities', {})])
            if 'error' in answer:
                raise MonitorError(answer['error']['desc'])
        except (OSError, MonitorError) as error:
            self.close()
            raise MonitorError(getattr(error, 'strerror', None) or
                               str(error)) from error

    def close(self) -> None:
        """Nothing more is wanted of it."""
        self._socket.close()

    def _receive(self) -> Message:
        """The next message: a line."""
        pieces = [self._left]
        while b'\n' not in pieces[-1]:
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise MonitorError('it has closed the connection')
            pieces.append(piece)
        line, _, self._left = b''.join(pieces).partition(b'\n')
        try:
            message = json.loads(line)
        except ValueError as error:
            raise MonitorError('this is no QMP monitor') from error
        if not isinstance(message, dict):
            raise MonitorError('this is no QMP monitor')
        return message

    def run(self, commands: List[Command]) -> List[Message]:
        """The answers to commands, which are sent at once."""
        try:
            self._socket.sendall(b''.join(
                json.dumps({'execute': name, 'arguments': arguments}).encode()
                + b'\n' for name, arguments in commands))
            answers: List[Message] = []
            while len(answers) < len(commands):
                message = self._receive()
                # What else happens is of no interest.
                if 'event' not in message:
                    answers.append(message)
        except OSError as error:
            raise MonitorError(error.strerror or str(error)) from error
        return answers
