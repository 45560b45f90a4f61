# SPDX-License-Identifier: GPL-2.0-or-later
"""A qemu-storage-daemon that is killed while an NBD client writes to it."""

import os
import select
import socket
import struct
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Callable, Dict, List, Optional, Tuple

from history import History, Op
from planner import Planner
from zoned_image import SECTOR

KINDS = {'write': 80, 'fua': 4, 'conv': 8, 'flush': 4}
OPTION_EXPORT_NAME = 1
CMD_WRITE, CMD_FLUSH = 1, 3
FLAG_FUA = 1
REPLY = struct.Struct('>IIQ')
REPLY_MAGIC = 0x67446698


def make_data(number: int, size: int) -> bytes:
    """Each sector is another one."""
    return b''.join(struct.pack('<QQ', number, n) * (SECTOR // 16)
                    for n in range(size // SECTOR))


class Client:
    """As little of an NBD client as is needed."""

    def __init__(self, path: str, alive: Callable[[], bool]) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 60
        while self.socket.connect_ex(path):
            if not alive() or time.monotonic() > deadline:
                raise OSError('no NBD server')
            time.sleep(0.005)
        self.received = b''
        self._negotiate()

    def _negotiate(self) -> None:
        magic, option, _ = struct.unpack('>8s8sH', self._exactly(18))
        assert (magic, option) == (b'NBDMAGIC', b'IHAVEOPT')
        name = b'disk'
        # Flags: fixed newstyle, no zeroes
        self.socket.sendall(struct.pack('>I8sII', 3, b'IHAVEOPT',
                                        OPTION_EXPORT_NAME, len(name)) + name)
        self._exactly(10)

    def _exactly(self, size: int) -> bytes:
        data = b''
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                raise OSError('the NBD server has hung up')
            data += chunk
        return data

    def send(self, handle: int, op: Op) -> None:
        """Does not wait for an answer."""
        command = CMD_FLUSH if op.kind == 'flush' else CMD_WRITE
        self.socket.sendall(struct.pack(
            '>IHHQQI', 0x25609513, FLAG_FUA if op.fua else 0, command, handle,
            op.offset, len(op.data)) + op.data)

    def answers(self) -> Optional[List[Tuple[int, int]]]:
        """[(handle, error)] that have come; None when there is no server."""
        try:
            chunk = self.socket.recv(1 << 16)
        except ConnectionResetError:
            chunk = b''
        if not chunk:
            return None
        self.received += chunk
        found = []
        while len(self.received) >= REPLY.size:
            magic, error, handle = REPLY.unpack_from(self.received)
            assert magic == REPLY_MAGIC
            found.append((handle, error))
            self.received = self.received[REPLY.size:]
        return found


class NbdRound:
    """Writes at some queue depth; NBD knows no zone operations."""

    name = 'qemu-storage-daemon'

    def __init__(self, rng: Random, programs: Path, path: Path,
                 history: History) -> None:
        self.rng = rng
        self.history = history
        self.planner = Planner(rng, history, KINDS, make_data)
        self.pending: Dict[int, Op] = {}    # by their handles
        self.depth = rng.choice([1, 2, 8, 32])
        where = f'{path}.nbd'
        # pylint: disable=consider-using-with  # lives as long as the object
        self.child = subprocess.Popen(
            [str(programs / 'qemu-storage-daemon'),
             '--blockdev', 'driver=zoned,node-name=disk,file.driver=file,'
             f'file.filename={path}',
             '--nbd-server', f'addr.type=unix,addr.path={where}',
             '--export', 'type=nbd,id=disk,node-name=disk,name=disk,'
             'writable=on'], stdin=subprocess.DEVNULL)
        self.client = Client(where, lambda: self.child.poll() is None)
        os.unlink(where)

    def run(self) -> None:
        """Send requests, and kill the server at some moment."""
        enough = self.rng.choice([0, 5, 50, 300, 1000])
        enough = self.rng.randint(0, enough)
        deadline = None
        while True:
            if deadline is None and len(self.history.ops) > enough:
                deadline = time.monotonic() + self.rng.choice(
                    [0, 0, self.rng.random() * 0.0005,
                     self.rng.random() * 0.005])
            if deadline is not None and time.monotonic() >= deadline:
                break
            while len(self.pending) < self.depth:
                self._send(self._plan())
            if not self._receive(10):
                break
        self.kill()

    def _plan(self) -> Op:
        while True:
            op = self.planner.next()
            if op.kind != 'write' or not self._overlaps(op):
                return op

    def _overlaps(self, op: Op) -> bool:
        """Two writes in flight in one place would have no order."""
        return self.history.header.is_conv(op.first) and any(
            op.offset < other.offset + len(other.data)
            and other.offset < op.offset + len(op.data)
            for other in self.pending.values())

    def _send(self, op: Op) -> None:
        handle = len(self.history.ops)
        self.history.begin(op)
        self.pending[handle] = op
        self.client.send(handle, op)

    def _receive(self, seconds: float) -> bool:
        """Whether the server is there, and says something."""
        if not select.select([self.client.socket], [], [], seconds)[0]:
            self.history.fail(f'no answer to {self.pending}')
            return False
        answers = self.client.answers()
        for handle, error in answers or []:
            op = self.pending.pop(handle)
            if error:
                self.history.fail(f'{op}: error {error}')
                continue
            self.history.ack(op)
            if op.kind == 'write' and op.offset + len(op.data) == \
                    self.history.header.cap_limit(op.first):
                self.planner.settled(op.first)
        return answers is not None

    def kill(self) -> None:
        """And read what it had said before."""
        self.child.kill()
        self.child.wait()
        while self._receive(10):
            pass
        self.client.socket.close()
