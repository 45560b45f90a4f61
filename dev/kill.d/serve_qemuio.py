# SPDX-License-Identifier: GPL-2.0-or-later
"""A qemu-io that is killed while it carries out commands from a pipe."""

import os
import re
import select
import subprocess
import time
from pathlib import Path
from random import Random
from typing import IO, List, Optional, Tuple

from history import History, Op
from planner import Planner

KINDS = {'write': 60, 'fua': 3, 'conv': 6, 'flush': 5, 'open': 2, 'close': 4,
         'finish': 3, 'reset': 6, 'reset_some': 1, 'all': 2}
COMMANDS = {'open': 'zo', 'close': 'zc', 'finish': 'zf', 'reset': 'zrs'}
PROMPT = 'qemu-io> '
TOKENS = re.compile(r'qemu-io> |wrote (\d+)/\d+ bytes at offset (\d+)\n|'
                    r'[^\n]*\b(?:failed|bad|error|cannot|not)\b[^\n]*\n')


def make_data(number: int, size: int) -> bytes:
    """qemu-io writes one byte again and again."""
    return bytes([number % 254 + 1]) * size


class QemuIoRound:
    """Plans commands, feeds them, and reads what was acknowledged."""
    # pylint: disable=too-many-instance-attributes

    name = 'qemu-io'

    def __init__(self, rng: Random, programs: Path, path: Path,
                 history: History) -> None:
        self.rng = rng
        self.history = history
        self.planner = Planner(rng, history, KINDS, make_data)
        # Commands, each with its request, or None
        self.commands: List[Tuple[str, Optional[Op]]] = []
        self.waiting: List[Op] = []     # writes that are not acknowledged
        self.begun = 0          # how many commands
        # Lines are wanted when they are printed, to know what was
        # acknowledged.
        # pylint: disable=consider-using-with  # lives as long as the object
        self.child = subprocess.Popen(
            ['stdbuf', '-oL', str(programs / 'qemu-io'), '-t', 'writeback',
             '--image-opts',
             f'driver=zoned,file.driver=file,file.filename={path}'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        assert self.child.stdin and self.child.stdout
        self.stdin: IO[bytes] = self.child.stdin
        self.stdout: IO[bytes] = self.child.stdout
        self.text = ''

    def plan(self, count: int) -> None:
        """So many commands, each with its request or none"""
        asynchronous = self.rng.random() < 0.7
        while len(self.commands) < count:
            op = self.planner.next()
            if op.kind == 'write' and not self.history.header.is_conv(
                    op.first):
                self._plan_write(op, asynchronous)
            else:
                self._plan_other(op)

    def _plan_write(self, op: Op, asynchronous: bool) -> None:
        flag = ' -f' if op.fua else ''
        name = 'aio_write' if asynchronous and self.rng.random() < 0.9 \
            else 'write'
        if len(self.planner.filling) > 1 or self.rng.random() < 0.02:
            self.commands.append(('aio_flush', None))
            self.planner.settled_before(op)
        if name == 'write' and not op.fua and self.rng.random() < 0.3:
            # An append always writes the same byte.
            self.planner.change_data(op, b'\xcd' * len(op.data))
            op.appended = True
            self.planner.settled(op.first)
            start = self.history.header.start(op.first)
            self.commands.append((f'zap -p {start} {len(op.data)}', op))
            return
        self.commands.append((f'{name}{flag} -P {op.data[0]} {op.offset} '
                              f'{len(op.data)}', op))
        if name == 'write':
            # The writes of a zone are acknowledged in order.
            self.planner.settled(op.first)

    def _plan_other(self, op: Op) -> None:
        header = self.history.header
        if op.kind == 'write':
            # Two at a time in one place would have no order.
            self.commands.append((f'write -P {op.data[0]} {op.offset} '
                                  f'{len(op.data)}', op))
        elif op.kind == 'flush':
            self.commands.append(('flush', op))
        else:
            start = header.start(op.first)
            self.commands.append((f'{COMMANDS[op.kind]} {start} '
                                  f'{header.limit(op.last) - start}', op))

    def run(self) -> None:
        """Feed commands, and die at some moment."""
        self.plan(self.rng.choice([40, 200, 500]))
        # It is not to end by itself.
        text = '\n'.join([*(line for line, _ in self.commands),
                          'sleep 99999\n'])
        left = text.encode()
        stdin = self.stdin.fileno()
        os.set_blocking(stdin, False)
        # Some time after some of it was done
        enough = self.rng.randrange(len(self.commands) + 1)
        deadline = None
        while True:
            if deadline is None and self.begun > enough:
                deadline = time.monotonic() + self.rng.choice(
                    [0, 0, self.rng.random() * 0.0005,
                     self.rng.random() * 0.005])
            wait = 60 if deadline is None else deadline - time.monotonic()
            if wait <= 0:
                break
            readable, writable, _ = select.select(
                [self.stdout], [stdin] if left else [], [], wait)
            if not readable and not writable and deadline is None:
                self.history.fail('qemu-io hangs after: '
                                  f'{self.commands[self.begun - 1][0]}')
                break
            if writable:
                left = left[os.write(stdin, left[:4096]):]
                if not left:
                    # It reads ahead, and looks at what it has read when there
                    # is more to read, or the end.
                    self.stdin.close()
            if readable and not self._read():
                break
        self.kill()

    def _read(self) -> bool:
        chunk = os.read(self.stdout.fileno(), 1 << 16)
        self.text += chunk.decode(errors='replace')
        self._parse()
        return bool(chunk)

    def kill(self) -> None:
        """And read what it had said before."""
        self.child.kill()
        self.child.wait()
        while self._read():
            pass
        if not self.stdin.closed:
            self.stdin.close()
        self.stdout.close()

    def _parse(self) -> None:
        """What a prompt says: the command before is done, the next begins."""
        end = 0
        for token in TOKENS.finditer(self.text):
            # A line or prompt that is there in part is read again.
            end = token.end()
            if token[0] == PROMPT:
                self._prompt()
            elif token[1]:
                self._wrote(int(token[2]), int(token[1]))
            elif self.begun:
                self.history.fail(
                    f'{self.commands[self.begun - 1][0]}: {token[0].strip()}')
            else:
                self.history.fail(token[0].strip())
        self.text = self.text[end:]

    def _prompt(self) -> None:
        if self.begun:
            op = self.commands[self.begun - 1][1]
            if op and (op.kind != 'write' or op.appended):
                self.history.ack(op)
        if self.begun < len(self.commands):
            op = self.commands[self.begun][1]
            if op:
                self.history.begin(op)
                if op.kind == 'write' and not op.appended:
                    self.waiting.append(op)
        self.begun += 1

    def _wrote(self, offset: int, size: int) -> None:
        for op in self.waiting:
            if op.offset == offset and len(op.data) == size:
                self.history.ack(op)
                self.waiting.remove(op)
                return
        self.history.fail(f'a write at {offset} that nobody asked for')
