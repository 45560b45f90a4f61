# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine that is killed while its guest writes to a zoned disk."""

from pathlib import Path
from random import Random
from typing import Iterator, List

import tap
from history import History, Op
from machine import Boot, Cut, Machine
from planner import Planner
from zoned_image import Header

KINDS = {'write': 40, 'fua': 10, 'flush': 4, 'open': 2, 'close': 3,
         'finish': 3, 'reset': 8, 'reset_some': 1}
OPS = 400       # of each of the two in the guest that write, at most
BOOT = 240      # seconds

DEVICE = 'size=4M,zone_size=256K,zone_capacity=192K,max_open_zones=5,' \
    'max_active_zones=8'

FUNCTIONS = '''
# write NUMBER TAG OFFSET SIZE CONVERSION: the tag, again and again
write() {
    yes "$(printf %015d "$2")" | head -c "$4" >"/tmp/data$lane"
    done_by "$1" dd if="/tmp/data$lane" of="$DISK" bs="$4" seek="$3" \\
        oflag=direct,seek_bytes conv="notrunc$5" status=none
}
# flush NUMBER
flush() {
    done_by "$1" dd if=/dev/null of="$DISK" conv=notrunc,fsync status=none
}
# zone NUMBER ACTION SECTOR SECTORS: one at a time, as it wants the disk alone
zone() {
    while ! mkdir /tmp/lock 2>/dev/null; do sleep 0.01; done
    done_by "$1" blkzone "$2" -o "$3" -l "$4" "$DISK"
    rmdir /tmp/lock
}
# done_by NUMBER COMMAND...: says when it begins, and when it has succeeded
done_by() {
    number=$1
    shift
    echo "begin $number" >&3
    if said=$("$@" 2>&1); then
        echo "ack $number" >&3
    else
        echo "fail $number $said" >&3
    fi
}
'''


def make_data(number: int, size: int) -> bytes:
    """A line that says which write it is of, again and again."""
    return b'%015d\n' % number * (size // 16)


def command(header: Header, number: int, op: Op) -> str:
    """What the guest does for a request."""
    if op.kind == 'write':
        conversion = ',fsync' if op.fua else ''
        # What it writes follows from the number it was planned with.
        tag = int(op.data[:15])
        return f'write {number} {tag} {op.offset} {len(op.data)} {conversion}'
    if op.kind == 'flush':
        return f'flush {number}'
    start = header.start(op.first)
    size = header.limit(op.last) - start
    return f'zone {number} {op.kind} {start // 512} {size // 512}'


class GuestRound:
    """Two processes of the guest, each with zones of its own."""

    name = 'virtual machine'

    def __init__(self, rng: Random, programs: Path, path: Path,
                 history: History) -> None:
        self.rng = rng
        self.history = history
        self.planned: List[Op] = []
        self.machine = Machine(programs)
        script = self._make_script()
        device = 'virtio-blk'
        if rng.random() < 0.5:
            device = 'virtio-blk-iothread'
        self.boot = Boot(
            image=path, script=script, console=path.with_name('console'),
            device=device, qemu=('-object', 'iothread,id=io'), timeout=BOOT)

    def _make_script(self) -> str:
        count = self.history.header.nr_zones
        limits = (self.history.header.max_open // 2,
                  self.history.header.max_active // 2)
        lines = [FUNCTIONS]
        for lane, zones in enumerate((range(count // 2),
                                      range(count // 2, count))):
            planner = Planner(self.rng, self.history, KINDS, make_data,
                              unit=4096, zones=zones, largest=32768,
                              limits=limits)
            planner.number = lane * OPS
            lines += ['(', f'lane={lane}', *self._plan(planner), ') &']
        # The one who kills waits for this.
        return '\n'.join(['echo ready >&3', *lines, 'wait', 'sleep 1000', ''])

    def _plan(self, planner: Planner) -> Iterator[str]:
        for _ in range(OPS):
            op = planner.next()
            # One after the other
            planner.settled()
            yield command(self.history.header, len(self.planned), op)
            self.planned.append(op)

    def run(self) -> None:
        """Boot it, and kill it at some moment after that."""
        outcome = self.machine.run(
            self.boot._replace(cut=Cut(self.rng.uniform(0.1, 8))))
        for n, line in enumerate(outcome.lines):
            if tap.is_failure(line):
                self.history.fail('\n'.join(outcome.lines[n:]))
                break
            self._take(line)

    def _take(self, line: str) -> None:
        """Of the results"""
        words = line.split()
        if len(words) < 2:
            return
        op = self.planned[int(words[1])]
        if words[0] == 'begin':
            self.history.begin(op)
        elif words[0] == 'ack':
            self.history.ack(op)
        else:
            self.history.fail(f'{op}: {line}')
