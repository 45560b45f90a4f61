# SPDX-License-Identifier: GPL-2.0-or-later
"""What must not be left after the death of a process, done by hand.

Each of these returns whether there was something that it could be done to.
"""

import struct

from zoned_image import CLOSED, EMPTY, FULL, Image, SECTOR, Zone


def set_zone(path, i, zone):
    header = Image(path).header
    with open(path, 'r+b') as f:
        f.seek(header.table_offset + i * 8)
        f.write(struct.pack('<Q', header.encode(i, zone)))
    return True


def change_byte(path, where):
    with open(path, 'r+b') as f:
        f.seek(where)
        byte = f.read(1)[0]
        f.seek(where)
        f.write(bytes([byte ^ 1]))
    return True


def sequential(history):
    return [i for i in range(history.header.nr_zones)
            if not history.header.is_conv(i)]


def lose_flushed(path, history):
    """A write pointer from before the last durable write."""
    for i in sequential(history):
        states = history.possible_states(i)
        if all(len(s.data) > SECTOR for s in states):
            return set_zone(path, i, Zone(CLOSED, history.header.start(i)
                                          + SECTOR))
    return False


def run_ahead(path, history):
    """A write pointer that nothing was written to."""
    for i in sequential(history):
        most = max(len(s.data) for s in history.possible_states(i))
        end = history.header.start(i) + most + SECTOR
        if end < history.header.cap_limit(i):
            return set_zone(path, i, Zone(CLOSED, end))
    return False


def garbage(path, history):
    """A byte below a write pointer is another one."""
    image = Image(path)
    for i in sequential(history):
        if image.zones[i].end > history.header.start(i):
            return change_byte(path, history.header.data_offset
                               + image.zones[i].end - 1)
    return False


def undo_operation(zone_cond):
    """An acknowledged zone operation has not happened."""
    def undo(path, history):
        for i in sequential(history):
            start = history.header.start(i)
            states = history.possible_states(i)
            if {s.cond for s in states} == {zone_cond}:
                end = start if zone_cond == FULL else start + SECTOR
                cond = EMPTY if zone_cond == FULL else CLOSED
                return set_zone(path, i, Zone(cond, end))
        return False
    return undo


def lose_conventional(path, history):
    for op in reversed(history.ops):
        if op.kind == 'write' and op.acked and \
                history.header.is_conv(op.first):
            return change_byte(path, history.header.data_offset + op.offset)
    return False


def impossible(path, history):
    i = sequential(history)[0]
    return set_zone(path, i, Zone(EMPTY, history.header.start(i) + SECTOR))


KINDS = {
    'flushed data is lost': lose_flushed,
    'a write pointer above the data': run_ahead,
    'garbage below a write pointer': garbage,
    'a finish is undone': undo_operation(FULL),
    'a reset is undone': undo_operation(EMPTY),
    'a conventional write is lost': lose_conventional,
    'an impossible zone': impossible,
}
