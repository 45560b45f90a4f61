# SPDX-License-Identifier: GPL-2.0-or-later
"""What was asked of a device, what was acknowledged, and so what may be left
after the death of the process that served it.

What the process had given to the kernel is not lost, so this is about the zone
states: they are in the memory of the process until a flush or a zone operation
commits them.
"""

from pathlib import Path
from typing import BinaryIO, Dict, List, NamedTuple, Optional, Tuple

from zoned_image import (
    CLOSED, EMPTY, EOPEN, FULL, IOPEN, SECTOR, Image, Zone, read_at)


class Op:
    """A request. For zone operations, first to last are the zones."""
    # pylint: disable=too-many-instance-attributes

    def __init__(self, kind: str, first: int, last: int, *, offset: int = 0,
                 data: bytes = b'', fua: bool = False,
                 everything: bool = False) -> None:
        self.kind = kind            # write, open, close, finish, reset, flush
        self.first, self.last = first, last
        self.offset = offset        # byte of the device
        self.data = data
        self.fua = fua
        self.everything = everything    # the range was the whole device
        self.appended = False
        # When it was begun and acknowledged, on the clock of the history
        self.begun: Optional[int] = None
        self.acked: Optional[int] = None

    def __repr__(self) -> str:
        what = f'{self.kind} {self.first}'
        if self.last != self.first:
            what += f' to {self.last}'
        if self.kind == 'write':
            what += f' at {self.offset} + {len(self.data)}'
        if self.fua:
            what += ' FUA'
        return f'{what} ({self.begun}, {self.acked})'


class ZoneState(NamedTuple):
    """Of a sequential zone, at some time."""
    cond: int
    data: bytes         # what was written to it

    def apply(self, op: Op, capacity: int) -> 'ZoneState':
        """The state after op; an op that must fail is not for here."""
        if op.kind == 'write':
            data = self.data + op.data
            if len(data) == capacity:
                return ZoneState(FULL, data)
            return ZoneState(EOPEN if self.cond == EOPEN else IOPEN, data)
        if op.everything and not self._selected(op.kind):
            return self
        if op.kind == 'reset':
            return ZoneState(EMPTY, b'')
        if op.kind == 'finish':
            return ZoneState(FULL, self.data)
        if op.kind == 'open':
            return ZoneState(EOPEN, self.data)
        if op.kind == 'close' and self.cond in (IOPEN, EOPEN):
            return ZoneState(CLOSED if self.data else EMPTY, self.data)
        return self

    def _selected(self, kind: str) -> bool:
        """Whether an operation on all zones is on this one."""
        return {'open': self.cond == CLOSED,
                'close': self.cond in (IOPEN, EOPEN),
                'finish': self.cond in (IOPEN, EOPEN, CLOSED),
                'reset': True}[kind]

    def in_image(self, start: int) -> Zone:
        """As it is found when the image is opened again."""
        if self.cond in (IOPEN, EOPEN, CLOSED):
            return Zone(CLOSED if self.data else EMPTY, start + len(self.data))
        return Zone(self.cond, start + len(self.data))


class History:
    """Since the image was opened."""

    def __init__(self, path: Path, image: Image) -> None:
        self.header = image.header
        self.clock = 0
        self.ops: List[Op] = []
        self.errors: List[str] = []
        zones = image.opened()
        with open(path, 'rb') as f:
            conv = min(self.header.nr_conv * self.header.zone_size,
                       self.header.size)
            self.conv = read_at(f, self.header.data_offset, conv)
            # Of conventional zones this is not used.
            self.states = [self._read_zone(f, i, zone)
                           for i, zone in enumerate(zones)]

    def _read_zone(self, f: BinaryIO, i: int, zone: Zone) -> ZoneState:
        start = self.header.start(i)
        size = 0 if self.header.is_conv(i) else zone.end - start
        return ZoneState(zone.cond, read_at(
            f, self.header.data_offset + start, size))

    def begin(self, op: Op) -> None:
        """It may have been done from now on."""
        self.clock += 1
        op.begun = self.clock
        self.ops.append(op)

    def ack(self, op: Op) -> None:
        """It was done."""
        self.clock += 1
        op.acked = self.clock

    def fail(self, text: str) -> None:
        """What should not have happened"""
        self.errors.append(text)

    # What must be left

    def flushes(self) -> List[Op]:
        """Those that were acknowledged"""
        return [op for op in self.ops if op.kind == 'flush' and op.acked]

    def is_durable(self, op: Op, later: List[Op]) -> bool:
        """Whether an op on a zone must be there; later: those behind it."""
        # An open or close does not wait for the writes before it, so it says
        # nothing of them; and when the image is opened, it is undone.
        if not op.acked or op.kind in ('open', 'close'):
            return False
        if op.kind in ('finish', 'reset') or op.fua:
            return True
        # A change of its condition makes the zone durable as it is.
        commits = [o for o in later if o.kind in ('close', 'finish', 'reset')]
        return any(o.acked and o.begun and o.begun > op.acked
                   for o in commits + self.flushes())

    def possible_states(self, i: int) -> List[ZoneState]:
        """Those that zone i may be found in."""
        capacity = self.header.cap_limit(i) - self.header.start(i)
        states = [self.states[i]]
        ops: List[Op] = []
        for op in self.ops:
            if op.kind == 'flush' or not op.first <= i <= op.last:
                continue
            state = states[-1].apply(op, capacity)
            # What changes nothing promises nothing.
            if state != states[-1]:
                states.append(state)
                ops.append(op)
        for n in range(len(ops), 0, -1):
            if self.is_durable(ops[n - 1], ops[n:]):
                return states[n:]
        return states

    # The verdict

    def judge(self, path: Path, image: Image) -> List[str]:
        """Complaints about what is in the image."""
        if not image.valid:
            return self.errors + [
                f'not valid: {image.why}, impossible {image.impossible()}, '
                f'surplus {image.surplus()}, short {image.is_short()}']
        complaints = list(self.errors)
        with open(path, 'rb') as f:
            for i, zone in enumerate(image.opened()):
                if not self.header.is_conv(i):
                    complaints += self._judge_zone(f, i, zone)
            complaints += self._judge_conventional(f)
        return complaints

    def _judge_zone(self, f: BinaryIO, i: int, zone: Zone) -> List[str]:
        start = self.header.start(i)
        states = self.possible_states(i)
        alike = [s for s in states if s.in_image(start) == zone]
        if not alike:
            allowed = sorted({s.in_image(start) for s in states})
            return [f'zone {i} (start {start}) is {zone}, not one of '
                    f'{allowed[:4]} ... {allowed[-4:]}']
        data = read_at(f, self.header.data_offset + start, zone.end - start)
        if data not in [s.data for s in alike]:
            wrong = first_difference(data, alike[-1].data)
            return [f'zone {i} is {zone} and has other data than was written, '
                    f'from byte {start + wrong} on: '
                    f'{data[wrong:wrong + 16].hex()} for '
                    f'{alike[-1].data[wrong:wrong + 16].hex()}']
        return []

    def _judge_conventional(self, f: BinaryIO) -> List[str]:
        """What was acknowledged is there, flushed or not."""
        sure = bytearray(self.conv)
        maybe: Dict[int, List[bytes]] = {}  # what else a sector may have
        for op in self.ops:
            if op.kind != 'write' or not self.header.is_conv(op.first):
                continue
            for at in range(0, len(op.data), SECTOR):
                where, data = op.offset + at, op.data[at:at + SECTOR]
                if op.acked:
                    sure[where:where + SECTOR] = data
                    maybe.pop(where, None)
                else:
                    maybe.setdefault(where, []).append(data)
        seen = read_at(f, self.header.data_offset, len(sure))
        for where in range(0, len(sure), SECTOR):
            data = seen[where:where + SECTOR]
            if data != sure[where:where + SECTOR] and \
                    data not in maybe.get(where, []):
                return [f'conventional sector at {where} has '
                        f'{data[:16].hex()}']
        return []

    def count(self) -> Tuple[int, int]:
        """(requests begun, of these not acknowledged)"""
        return len(self.ops), sum(op.acked is None for op in self.ops)


def first_difference(one: bytes, two: bytes) -> int:
    """Where two pieces of data differ"""
    for n, (a, b) in enumerate(zip(one, two)):
        if a != b:
            return n
    return min(len(one), len(two))
