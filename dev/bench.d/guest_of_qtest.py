# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without a CPU, whose virtio-blk disk is driven from here.

QEMU runs with -accel qtest. The guest's memory is a file that is mapped here,
so that a batch of requests costs QEMU one command of the qtest protocol, which
tells the device of it: whoever waits for the batch looks into the memory. So
what QEMU executes for a number of batches is nearly always the same.
"""

import mmap
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Sequence, Union

from qmp import Qmp

MEMORY = 16 << 20
BATCH = 128                 # requests in flight
# A legacy driver cannot choose it; some releases ignore the device's option.
QUEUE_SIZE = 1024
SECTOR = 512
BLOCK = 4096

# PCI, and a device at this place
CONFIG_ADDRESS, CONFIG_DATA = 0xcf8, 0xcfc
SLOT = 4
COMMAND, BAR0 = 0x04, 0x10
IO_AND_MASTER = 0x05
PORTS = 0xc000

# Ports of a legacy virtio device (virtio 1.3, 4.1.4.10)
DRIVER_FEATURES, QUEUE_ADDRESS, QUEUE_SELECT, QUEUE_NOTIFY, STATUS = \
    0x04, 0x08, 0x0e, 0x10, 0x12
ACKNOWLEDGED_AND_DRIVER, DRIVER_OK = 0x03, 0x07
F_RING_INDIRECT_DESC = 1 << 28

NEXT, DEVICE_WRITES, INDIRECT = 1, 2, 4
IN, OUT = 0, 1

# Places in the guest's memory. The rings of a legacy queue lie where its size
# and its address tell.
QUEUE = 1 << 20
AVAILABLE = QUEUE + 16 * QUEUE_SIZE
USED = AVAILABLE + BLOCK
TABLES = 2 << 20
HEADERS = 3 << 20
STATUSES = 4 << 20
DATA = 8 << 20


class Guest:
    """QEMU with this guest."""

    def __init__(self, program: Path, node: str, folder: Path,
                 prefix: Sequence[str] = ()) -> None:
        memory = folder / 'guest.memory'
        with open(memory, 'w+b') as file:
            file.truncate(MEMORY)
            self.memory = mmap.mmap(file.fileno(), MEMORY)
        listener = socket.socket(socket.AF_UNIX)
        (folder / 'qtest').unlink(missing_ok=True)
        listener.bind(str(folder / 'qtest'))
        listener.listen(1)
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [str(word) for word in (
                *prefix, program, '-accel', 'qtest', '-nodefaults',
                '-display', 'none', '-m', f'{MEMORY >> 20}M',
                '-object', 'memory-backend-file,id=ram,share=on,'
                f'size={MEMORY},mem-path={memory}',
                '-machine', 'pc,memory-backend=ram',
                '-qtest', f'unix:{folder}/qtest', '-qtest-log', '/dev/null',
                '-qmp', f'unix:{folder}/qmp,server=on,wait=off',
                '-blockdev', f'node-name=disk,{node}',
                '-device', f'virtio-blk-pci,drive=disk,addr={SLOT},'
                'disable-legacy=off,disable-modern=on,'
                f'queue-size={QUEUE_SIZE}')],
            stdin=subprocess.DEVNULL)
        self.qtest = self._accept(listener).makefile('rw', encoding='utf-8')
        self.qmp = Qmp(folder / 'qmp', 120)
        self.asked = 0          # requests, of all batches
        self._start_device()

    def _accept(self, listener: socket.socket) -> socket.socket:
        """QEMU's connection."""
        listener.settimeout(1)
        with listener:
            while self.process.poll() is None:
                try:
                    return listener.accept()[0]
                except TimeoutError:
                    pass
        raise RuntimeError('QEMU has ended before its guest ran')

    def __enter__(self) -> 'Guest':
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0]:
            self.process.kill()
        else:
            self.qmp.command('quit')
        self.process.wait(timeout=120)
        self.memory.close()

    def _qtest(self, *words: Union[str, int]) -> None:
        self.qtest.write(' '.join(map(str, words)) + '\n')
        self.qtest.flush()
        answer = self.qtest.readline().split()
        assert answer[:1] == ['OK'], (words, answer)

    def _configure(self, register: int, value: int) -> None:
        self._qtest('outl', CONFIG_ADDRESS, 1 << 31 | SLOT << 11 | register)
        self._qtest('outl', CONFIG_DATA, value)

    def _start_device(self) -> None:
        self._configure(BAR0, PORTS)
        self._configure(COMMAND, IO_AND_MASTER)
        self._qtest('outb', PORTS + STATUS, ACKNOWLEDGED_AND_DRIVER)
        self._qtest('outl', PORTS + DRIVER_FEATURES, F_RING_INDIRECT_DESC)
        self._qtest('outw', PORTS + QUEUE_SELECT, 0)
        self._qtest('outl', PORTS + QUEUE_ADDRESS, QUEUE // BLOCK)
        self._qtest('outb', PORTS + STATUS, DRIVER_OK)

    def describe(self, kind: int) -> None:
        """
        The requests of each batch from now on: a block each, at every other
        place of the disk, so that the device does not merge them.
        """
        flags = DEVICE_WRITES if kind == IN else 0
        for i in range(BATCH):
            header, status = HEADERS + 16 * i, STATUSES + i
            table = TABLES + 16 * 3 * i
            struct.pack_into('<IIQ', self.memory, header, kind, 0,
                             2 * i * BLOCK // SECTOR)
            struct.pack_into('<' + 3 * 'QIHH', self.memory, table,
                             header, 16, NEXT, 1,
                             DATA + BLOCK * i, BLOCK, NEXT | flags, 2,
                             status, 1, DEVICE_WRITES, 0)
            struct.pack_into('<QIHH', self.memory, QUEUE + 16 * i,
                             table, 3 * 16, INDIRECT, 0)
        for i in range(QUEUE_SIZE):
            struct.pack_into('<H', self.memory, AVAILABLE + 4 + 2 * i,
                             i % BATCH)

    def run(self, batches: int) -> None:
        """So many batches, one after the other."""
        for _ in range(batches):
            self.memory[STATUSES:STATUSES + BATCH] = b'\xff' * BATCH
            self.asked += BATCH
            struct.pack_into('<H', self.memory, AVAILABLE + 2,
                             self.asked & 0xffff)
            self._qtest('outw', PORTS + QUEUE_NOTIFY, 0)
            self._wait()
            assert not any(self.memory[STATUSES:STATUSES + BATCH]), \
                'a request has failed'

    def _wait(self) -> None:
        end = time.monotonic() + 60
        while struct.unpack_from('<H', self.memory, USED + 2)[0] \
                != self.asked & 0xffff:
            assert time.monotonic() < end, 'the disk does not answer'
            time.sleep(0.001)
