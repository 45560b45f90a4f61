# SPDX-License-Identifier: GPL-2.0-or-later
"""What must not be left after the death of a process, done by hand.

Each of these returns whether there was something that it could be done to.
"""

import struct
from pathlib import Path
from typing import Callable, Dict, List

from history import History
from zoned_image import (
    CLOSED, EMPTY, FULL, Image, LOG_BLOCK, SECTOR, Zone)


Damage = Callable[[Path, History], bool]


def set_zone(path: Path, i: int, zone: Zone) -> bool:
    """Its entry says this, and none in the log says otherwise."""
    image = Image(path)
    header = image.header
    entries = [header.encode(k, zone if k == i else image.zone(k))
               for k in range(header.nr_zones)]
    with open(path, 'r+b') as f:
        f.seek(header.table_offset)
        f.write(struct.pack(f'<{len(entries)}Q', *entries))
        f.seek(header.log_offset + LOG_BLOCK)
        f.write(bytes(LOG_BLOCK))
    return True


def change_byte(path: Path, where: int) -> bool:
    """A bit of it"""
    with open(path, 'r+b') as f:
        f.seek(where)
        byte = f.read(1)[0]
        f.seek(where)
        f.write(bytes([byte ^ 1]))
    return True


def sequential(history: History) -> List[int]:
    """The zones that are"""
    return [i for i in range(history.header.nr_zones)
            if not history.header.is_conv(i)]


def lose_flushed(path: Path, history: History) -> bool:
    """A write pointer from before the last durable write."""
    for i in sequential(history):
        states = history.possible_states(i)
        if all(len(s.data) > SECTOR for s in states):
            return set_zone(path, i, Zone(CLOSED, history.header.start(i)
                                          + SECTOR))
    return False


def run_ahead(path: Path, history: History) -> bool:
    """A write pointer that nothing was written to."""
    for i in sequential(history):
        most = max(len(s.data) for s in history.possible_states(i))
        end = history.header.start(i) + most + SECTOR
        if end < history.header.cap_limit(i):
            return set_zone(path, i, Zone(CLOSED, end))
    return False


def garbage(path: Path, history: History) -> bool:
    """A byte below a write pointer is another one."""
    image = Image(path)
    for i in sequential(history):
        end = image.zone(i).end
        if end > history.header.start(i):
            where = history.header.data_offset + end - 1
            change_byte(path, where)
            if Image(path).zone(i).end >= end:
                return True
            # The last record in the log has a sum of it, and counts no more.
            change_byte(path, where)
    return False


def undo_operation(zone_cond: int) -> Damage:
    """An acknowledged zone operation has not happened."""
    def undo(path: Path, history: History) -> bool:
        for i in sequential(history):
            start = history.header.start(i)
            states = history.possible_states(i)
            if {s.cond for s in states} == {zone_cond}:
                end = start if zone_cond == FULL else start + SECTOR
                cond = EMPTY if zone_cond == FULL else CLOSED
                return set_zone(path, i, Zone(cond, end))
        return False
    return undo


def lose_conventional(path: Path, history: History) -> bool:
    """A byte that was written there is another one."""
    for op in reversed(history.ops):
        if op.kind == 'write' and op.acked and \
                history.header.is_conv(op.first):
            return change_byte(path, history.header.data_offset + op.offset)
    return False


def impossible(path: Path, history: History) -> bool:
    """An empty zone that holds data"""
    i = sequential(history)[0]
    return set_zone(path, i, Zone(EMPTY, history.header.start(i) + SECTOR))


KINDS: Dict[str, Damage] = {
    'flushed data is lost': lose_flushed,
    'a write pointer above the data': run_ahead,
    'garbage below a write pointer': garbage,
    'a finish is undone': undo_operation(FULL),
    'a reset is undone': undo_operation(EMPTY),
    'a conventional write is lost': lose_conventional,
    'an impossible zone': impossible,
}
