# SPDX-License-Identifier: GPL-2.0-or-later
"""Random requests, none of which may fail."""

from random import Random
from typing import (
    Callable, Dict, List, Optional, Sequence, Set, Tuple)

from history import History, Op
from zoned_image import CLOSED, EMPTY, EOPEN, FULL, IOPEN, SECTOR

KIB = 1 << 10
ACTIVE = (IOPEN, EOPEN, CLOSED)

# A device of each kind: creation options
DEVICES = [
    'size=2M,zone_size=128K,zone_nr_conv=2,max_open_zones=3,'
    'max_active_zones=5',
    'size=1000K,zone_size=64K,zone_capacity=48K,zone_nr_conv=1,'
    'max_active_zones=4',
    'size=1M,zone_size=32K,zone_capacity=28K,max_open_zones=2',
    'size=4M,zone_size=1M,zone_nr_conv=1',
    # Three blocks of the zone table
    'size=4800K,zone_size=4K,zone_nr_conv=3,max_active_zones=14',
    'size=512K,zone_size=256K,max_open_zones=1,max_active_zones=1',
]


class Planner:
    """What to do next, so that the device has no reason to refuse it.

    unit: writes are multiples of this, and not larger than largest.
    zones, limits: those to use, if not all; limits are (open, active).
    make_data(number, size): what the write with this number writes.
    """
    # pylint: disable=too-many-instance-attributes

    def __init__(self, rng: Random, history: History, kinds: Dict[str, int],
                 make_data: Callable[[int, int], bytes], *,
                 unit: int = SECTOR, largest: int = 16 * KIB,
                 zones: Optional[Sequence[int]] = None,
                 limits: Optional[Tuple[int, int]] = None) -> None:
        self.rng = rng
        self.header = history.header
        self.kinds = kinds
        self.make_data = make_data
        self.unit = unit
        self.largest = largest
        self.states = list(history.states)
        self.number = 0
        # Zones that a write in flight will fill: they are active until then.
        self.filling: Set[int] = set()
        self.max_open, self.max_active = limits or (
            self.header.max_open, self.header.max_active)
        zones = range(self.header.nr_zones) if zones is None else zones
        self.conv = [i for i in zones if self.header.is_conv(i)]
        self.seq = [i for i in zones if not self.header.is_conv(i)]

    # What there is

    def conds(self, *conds: int) -> List[int]:
        """The sequential zones in one of these conditions"""
        return [i for i in self.seq if self.states[i].cond in conds]

    def room_for_active(self) -> int:
        """How many more zones may become active."""
        limit = self.max_active or self.header.nr_zones
        return limit - len(set(self.conds(*ACTIVE)) | self.filling)

    def capacity(self, i: int) -> int:
        """Of zone i, in bytes"""
        return self.header.cap_limit(i) - self.header.start(i)

    def writable(self) -> List[int]:
        """The zones that can be written now"""
        zones = self.conds(*ACTIVE)
        if self.room_for_active() > 0:
            # A few at a time, so that they become full.
            zones += self.conds(EMPTY)[:2]
        return [i for i in zones
                if self.capacity(i) - len(self.states[i].data) >= self.unit]

    def openable(self) -> List[int]:
        """That all zones are explicitly open would stop the others."""
        limit = self.max_open or self.header.nr_zones
        if len(self.conds(EOPEN)) + len(self.filling) >= limit - 1:
            return []
        zones = self.conds(IOPEN, CLOSED)
        if self.room_for_active() > 0:
            zones += self.conds(EMPTY)[:2]
        return zones

    # The next request

    def next(self) -> Op:
        """Also changes the states to what they are after it."""
        while True:
            kind = self.rng.choices(list(self.kinds),
                                    weights=list(self.kinds.values()))[0]
            op: Optional[Op] = getattr(self, f'_{kind}')()
            if op:
                self._apply(op)
                return op

    def _apply(self, op: Op) -> None:
        if op.kind == 'flush':
            return
        for i in range(op.first, op.last + 1):
            if self.header.is_conv(i):
                continue
            self.states[i] = self.states[i].apply(op, self.capacity(i))
            if op.kind == 'write' and self.states[i].cond == FULL:
                self.filling.add(i)
            elif op.kind in ('finish', 'reset'):
                # It waits for what is in flight.
                self.filling.discard(i)

    def change_data(self, op: Op, data: bytes) -> None:
        """What op, the last one planned, writes."""
        state = self.states[op.first]
        self.states[op.first] = state._replace(
            data=state.data[:-len(data)] + data)
        op.data = data

    def settled(self, i: Optional[int] = None) -> None:
        """Nothing is in flight, in zone i or at all."""
        if i is None:
            self.filling.clear()
        else:
            self.filling.discard(i)

    def settled_before(self, op: Op) -> None:
        """Nothing was in flight when op, the last one planned, began."""
        self.filling &= {op.first}

    def _size(self, room: int) -> int:
        units = self.rng.choice([1, 1, 2, 8, 9, 16, 32]) * self.unit
        size = min(units, self.largest, room)
        if self.rng.random() < 0.1:
            size = min(room, self.largest)
        return size // self.unit * self.unit

    def _write(self, fua: bool = False) -> Optional[Op]:
        zones = self.writable()
        if not zones:
            return None
        i = self.rng.choice(zones)
        done = len(self.states[i].data)
        self.number += 1
        data = self.make_data(self.number,
                              self._size(self.capacity(i) - done))
        return Op('write', i, i, offset=self.header.start(i) + done,
                  data=data, fua=fua)

    def _fua(self) -> Optional[Op]:
        return self._write(fua=True)

    def _conv(self) -> Optional[Op]:
        if not self.conv:
            return None
        i = self.rng.choice(self.conv)
        size = self._size(self.header.limit(i) - self.header.start(i))
        last = self.header.limit(i) - size
        offset = self.rng.randint(self.header.start(i) // self.unit,
                                  last // self.unit) * self.unit
        self.number += 1
        return Op('write', i, i, offset=offset,
                  data=self.make_data(self.number, size))

    def _flush(self) -> Op:
        return Op('flush', 0, 0)

    def _on_one(self, kind: str, zones: List[int]) -> Optional[Op]:
        if not zones:
            return None
        i = self.rng.choice(zones)
        return Op(kind, i, i)

    def _open(self) -> Optional[Op]:
        return self._on_one('open', self.openable())

    def _close(self) -> Optional[Op]:
        return self._on_one('close', self.conds(*ACTIVE))

    def _finish(self) -> Optional[Op]:
        return self._on_one('finish', self.conds(*ACTIVE) +
                            self.conds(EMPTY)[:1])

    def _reset(self) -> Optional[Op]:
        # Most of those that are full, so that there is something to write.
        full = self.conds(FULL)
        if len(full) > len(self.seq) // 2 or self.rng.random() < 0.7:
            return self._on_one('reset', full)
        return self._on_one('reset', self.seq)

    def _reset_some(self) -> Optional[Op]:
        """A run of zones."""
        if not self.seq:
            return None
        first = self.rng.choice(self.seq)
        last = min(first + self.rng.randint(1, 4), self.seq[-1])
        return Op('reset', first, last,
                  everything=(first, last) == (0, self.header.nr_zones - 1)
                  and last > 0)

    def _all(self) -> Optional[Op]:
        """The whole device at once; rarely, as it ends much."""
        last = self.header.nr_zones - 1
        if last == 0 or self.rng.random() < 0.8:
            return None
        return Op(self.rng.choice(['close', 'finish', 'reset']), 0, last,
                  everything=True)
