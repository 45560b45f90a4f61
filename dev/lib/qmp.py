"""A QMP client for what runs beside a guest: commands, and events in order."""

import json
import socket
import time


class Qmp:
    """One connection; the VM may still be starting."""

    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.events = []
        end = time.monotonic() + timeout
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        self.stream = self.socket.makefile('rw', encoding='utf-8')
        self._receive()
        self.command('qmp_capabilities')

    def _receive(self):
        """The next message; EOFError when the VM has ended."""
        try:
            line = self.stream.readline()
        except ConnectionError:
            line = ''
        if not line:
            raise EOFError
        return json.loads(line)

    def command(self, name, /, **arguments):
        """Run a command; events that come first are kept."""
        self.stream.write(json.dumps({'execute': name,
                                      'arguments': arguments}) + '\n')
        self.stream.flush()
        while True:
            message = self._receive()
            if 'event' in message:
                self.events.append(message)
            elif 'return' in message:
                return message['return']
            else:
                raise RuntimeError(f'{name}: {message["error"]["desc"]}')

    def event(self):
        """The next event."""
        while not self.events:
            message = self._receive()
            if 'event' in message:
                self.events.append(message)
        return self.events.pop(0)
