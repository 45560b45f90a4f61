#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Enumerate power cuts of a small model of the log in front of the zone table.

  log_model.py [--seconds N] [--seed N] [MUTANT...]
                            random histories of the protocol, or of it without
                            the rule that a mutant names, up to a bad one
  log_model.py --mutants    each of them for as long: which are not caught?
  log_model.py --list       the mutants

The model is a file of cells that a power cut leaves old or new, or torn; a
process that runs operations of a zoned device, in any order, on top of it; and
a judge who knows what each zone has been, and what was promised. At each step,
what a power cut could leave is opened and judged. A history may have failed
writes and flushes, pages that the host gives up, kills and reopens.

Protocol, in short. A commit takes the entries of the zones that changed and
writes them as a record behind the earlier ones, with checksums of data that
was not flushed yet, then flushes once (log_commit). If there is data without a
checksum, it flushes before. Where a record will not do, all is flushed, the
table written, flushed, and a head with a new epoch written and flushed, which
empties the log (full_commit): when the log is full, when a commit has failed,
and at first, as what was read may be in a cache only.
"""

import argparse
import itertools
import random
import sys
import time
from typing import (
    Any, Callable, Dict, Generator, Iterator, List, Optional, Sequence, Set,
    Tuple)

Cell = Tuple[Any, ...]
Steps = Generator[None, None, Any]

# Which precaution is left out, and by what it is missed
MUTANTS = {
    'no-sums': 'a record has no checksums of data',
    'sum-not-of-copy': 'the guest changes a buffer that was summed, then sent',
    'unsummed-not-flushed': 'data without checksums is not flushed first',
    'sums-of-all': 'the data of all records is looked at, not the last one\'s',
    'torn-record': 'the checksum of the record is not looked at',
    'stale-sums': 'what a reset or an error takes away keeps its checksums',
    'old-epoch': 'records of another epoch are taken for valid',
    'same-epoch': 'the head has the epoch that it had',
    'no-take-over': 'records follow those that were read, at once',
    'take-over-data': 'the data of the last record is not written again',
    'take-over-unchecked': 'it is written again whatever it is by now',
    'table-not-flushed': 'the head is written before the table is durable',
    'head-not-flushed': 'records follow before the head is durable',
    'table-of-now': 'the table says what is true when it is written',
    'data-not-flushed': 'the table says what is true, without a flush before',
    'named-forgotten': 'zones of the log are not written to the table',
    'failed-record-counts': 'after a flush that failed, records follow',
    'failed-record-forgotten': 'the changes in it are not written again',
    'failed-head-forgotten': 'after a head that failed, records follow',
    'failed-record-replaced': 'the next one takes its place, no new epoch',
    'record-by-fua': 'a record is made durable, the data before it is not',
    'no-doubt-after-fua': 'data is overwritten that a record may name',
    'no-doubt-after-reset': 'as much, after a reset that failed',
    'doubt-ends-by-reset': 'a reset of another zone ends doubt',
    'early-exclusion': 'a write follows before the reset is durable',
    'early-discard': 'data is discarded before the reset is durable',
    'reset-names-others': 'a reset has zones whose data is not flushed',
    'extension-not-flushed': 'a record speaks of an extension in a cache',
    'read-error-drops': 'a record whose data cannot be read is left out',
    'no-lingering': 'the resource of a zone is free before that is durable',
    'reader-looks-once': 'who reads beside a writer does not look again',
    'no-limit': 'zones become active beyond the limit',
}


class Failed(Exception):
    """An error of the file"""


class Bad(Exception):
    """What must not be"""


class Choices:
    """Where a history could go on in another way"""

    def __init__(self, rng: Optional[random.Random],
                 given: Sequence[int] = ()) -> None:
        self.rng = rng
        self.given = given
        self.taken: List[Tuple[int, int]] = []

    def pick(self, n: int) -> int:
        """One of n; 0 is the plain one."""
        i = len(self.taken)
        if i < len(self.given):
            value = min(self.given[i], n - 1)
        else:
            value = self.rng.randrange(n) if self.rng and n > 1 else 0
        self.taken.append((value, n))
        return value

    def chance(self, one_in: int) -> bool:
        """Seldom"""
        if self.rng and len(self.taken) >= len(self.given):
            value = int(self.rng.randrange(one_in) == 0)
            self.taken.append((value, 2))
            return bool(value)
        return bool(self.pick(2))


class File:
    """Cells: what reads see is the last of the values that a cut may leave."""

    def __init__(self) -> None:
        self.cells: Dict[Cell, List[Any]] = {}
        self.dirty: Set[Cell] = set()

    def get(self, cell: Cell) -> Any:
        """What a read sees"""
        return self.cells.get(cell, [None])[-1]

    def put(self, cell: Cell, value: Any) -> None:
        """A write: into a cache"""
        self.cells.setdefault(cell, [None]).append(value)
        self.dirty.add(cell)

    def begin_flush(self) -> Dict[Cell, int]:
        """What a flush will make durable"""
        return {c: len(self.cells[c]) for c in self.dirty}

    def end_flush(self, begun: Dict[Cell, int],
                  dropped: Dict[Cell, int]) -> None:
        """dropped: how many values another flush took from a cell since"""
        for cell, n in begun.items():
            values = self.cells[cell]
            n -= dropped.get(cell, 0)
            if n > 1:
                del values[:n - 1]
                dropped[cell] = dropped.get(cell, 0) + n - 1
            if len(values) == 1:
                self.dirty.discard(cell)

    def give_up(self, kinds: str) -> None:
        """Pages that could not be written are clean from now on."""
        self.dirty = {c for c in self.dirty if c[0] not in kinds}

    def evict(self, choices: Choices) -> None:
        """Clean pages go: the next read sees what the disk has."""
        for cell, values in self.cells.items():
            if cell not in self.dirty and len(values) > 1:
                self.cells[cell] = [values[choices.pick(len(values))]]

    def open_cells(self) -> List[Tuple[Cell, List[Any]]]:
        """Those of which nobody knows what a power cut leaves"""
        found = []
        for cell, values in self.cells.items():
            if len(values) > 1:
                options = list(dict.fromkeys(values))
                if cell[0] in 'DLX' and len(options) > 1:
                    options.append('torn')
                if len(options) > 1:
                    found.append((cell, options))
        return found

    def cuts(self, limit: int,
             rng: random.Random) -> Iterator[Dict[Cell, Any]]:
        """What power cuts leave: all, or so many at random"""
        base = {c: v[-1] for c, v in self.cells.items()}
        unsure = self.open_cells()
        count = 1
        for _, options in unsure:
            count *= len(options)
        picks: Any
        if count <= limit:
            picks = itertools.product(*[o for _, o in unsure])
        else:
            picks = ([rng.choice(o) for _, o in unsure] for _ in range(limit))
        for pick in picks:
            image = dict(base)
            for (cell, _), value in zip(unsure, pick):
                image[cell] = value
            yield image


class Config:
    """How large the model is"""

    def __init__(self, rng: random.Random) -> None:
        self.zones = rng.choice([2, 2, 3])
        self.blocks = rng.choice([2, 3])
        self.slots = rng.choice([1, 2, 3])
        self.sums = rng.choice([1, 2, 4])
        self.active = rng.choice([1, 2, 9])
        self.discards = rng.random() < 0.5
        self.at_once = rng.choice([1, 2, 3])


EMPTY, CLOSED, FULL = 'EMPTY', 'CLOSED', 'FULL'
# condition, blocks, extension valid
Entry = Tuple[str, int, bool]
NEW: Entry = (EMPTY, 0, False)


class Record:
    """What is in a slot of the log, all of it or a half"""

    def __init__(self, epoch: int, number: int, entries: Dict[int, Entry],
                 sums: Sequence[Tuple[int, int, Any]]) -> None:
        self.epoch = epoch
        self.number = number
        self.entries = entries
        self.sums = sums


def recover(get: Any, config: Config, mutant: str, unreadable: bool = False) \
        -> Tuple[Dict[int, Entry], int, List[Record]]:
    """The entries that are in an image, its epoch, and its valid records"""
    epoch = get(('H',)) or 0
    entries = {z: get(('T', z)) or NEW for z in range(config.zones)}
    records: List[Record] = []
    for slot in range(config.slots):
        halves = [get(('L', slot, half)) for half in (0, 1)]
        record = halves[0]
        if not isinstance(record, Record):
            break
        if halves[1] is not record:
            if mutant != 'torn-record':
                break
            # The checksums of data are at its end.
            record = Record(record.epoch, record.number, record.entries, [])
        if (record.epoch != epoch and mutant != 'old-epoch'
                or record.number != slot):
            break
        records.append(record)
    while records:
        looked_at = records if mutant == 'sums-of-all' else records[-1:]
        if unreadable and looked_at[-1].sums:
            if mutant != 'read-error-drops':
                raise Failed
            del records[-1]
            break
        wrong = [i for i, record in enumerate(looked_at)
                 for z, b, value in record.sums
                 if get(('D', z, b)) != value]
        if not wrong:
            break
        del records[-1]
        if mutant != 'sums-of-all':
            break
    for record in records:
        entries.update(record.entries)
    return entries, epoch, records


def visible(get: Any, z: int, entry: Entry) -> Any:
    """What a zone shows"""
    cond, end, extended = entry
    return (cond, tuple(get(('D', z, b)) for b in range(end)),
            get(('X', z)) if extended else None)


class Judge:
    """What each zone has been, and from where on it may be that"""

    def __init__(self, config: Config) -> None:
        self.config = config
        empty = (EMPTY, (), None)
        self.been: List[List[Any]] = [[empty] for _ in range(config.zones)]
        self.floor = [0] * config.zones
        # The conventional zone: a block
        self.conv: List[Any] = [None]
        self.conv_floor = 0
        self.conv_done = 0              # the last write that has succeeded

    def become(self, z: int, state: Any) -> None:
        """Zone z may be seen like this from now on."""
        self.been[z].append(state)

    def now(self) -> List[int]:
        """For promise()"""
        return [*(len(b) - 1 for b in self.been), self.conv_done]

    def promise(self, noted: List[int]) -> None:
        """What was at that time, or came later, is durable."""
        for z in range(self.config.zones):
            self.floor[z] = max(self.floor[z], noted[z])
        self.conv_floor = max(self.conv_floor, noted[-1])

    def restart(self, states: List[Any], conv: Any, cut: bool) -> None:
        """
        A new process has seen this: all that there is behind a power cut; else
        a cache, and what there was before may come back.
        """
        if cut:
            self.been = [[] for _ in states]
            self.conv = []
            self.floor = [0] * self.config.zones
            self.conv_floor = 0
        for z, state in enumerate(states):
            self.been[z].append(state)
        self.conv.append(conv)
        # As on any disk: a flush does not promise what others have written.
        self.conv_done = self.conv_floor

    def look(self, get: Any, mutant: str, what: str,
             floor: Optional[List[int]] = None) -> None:
        """An image that is opened now: is it one of those that may be?"""
        entries, _, _ = recover(get, self.config, mutant)
        self.look_at(entries, get, what, floor)

    def look_at(self, entries: Dict[int, Entry], get: Any, what: str,
                floor: Optional[List[int]] = None) -> None:
        """The same for what a program has made of it"""
        for z, entry in entries.items():
            state = visible(get, z, entry)
            least = self.floor[z] if floor is None else floor[z]
            if state not in self.been[z][least:]:
                raise Bad(f'{what}: zone {z} is {state}, may be '
                          f'{self.been[z][least:]}')
        active = sum(e[0] == CLOSED for e in entries.values())
        if active > self.config.active:
            raise Bad(f'{what}: {active} active zones')
        if get(('C',)) not in self.conv[self.conv_floor:]:
            raise Bad(f'{what}: conventional zone has {get(("C",))}')


class Write:
    """A write in flight"""

    # pylint: disable=too-many-instance-attributes

    def __init__(self, z: int, start: int, values: List[Any],
                 opened: bool) -> None:
        self.z = z
        self.start = start
        self.values = values
        self.opened = opened
        self.written = False
        self.done = False
        self.failed = False
        self.revoked = False


class Driver:
    """A process that has the image open"""

    # pylint: disable=too-many-instance-attributes

    def __init__(self, world: 'World') -> None:
        self.w = world
        self.c = world.config
        self.entries, self.epoch, records = recover(
            world.file.get, self.c, world.mutant)
        self.saved = dict(self.entries)
        self.number = len(records)
        self.last = records[-1] if records else None
        self.named = {z for r in records for z in r.entries}
        self.dirty = set(self.entries)
        # Zone, block, what was summed, in which generation
        self.sums: List[Tuple[int, int, Any, int]] = []
        self.generation = 1
        self.unsummed = 0               # the generation of the last
        self.full = world.mutant != 'no-take-over'
        self.taken = not self.full
        self.doubt = True
        self.new_doubt = False          # since a commit began
        self.running = False
        self.held: Set[int] = set()
        self.flight: Dict[int, List[Write]] = {
            z: [] for z in range(self.c.zones)}
        self.lingering: Set[int] = set()
        # The block layer leaves a flush out if nothing was written
        self.writes = self.flushed = 0
        self.stuck = False
        self.conv_busy = False
        if world.mutant == 'no-take-over':
            self.dirty = set()
            self.doubt = False

    # The file

    def write(self, cell: Cell, value: Any) -> Steps:
        """A write of a cell, which may fail"""
        yield
        self.writes += 1
        if self.w.strikes('write'):
            if self.w.choices.pick(2):
                self.w.file.put(cell, value)
                self.w.look('power cut behind a write that failed')
            raise Failed
        self.w.file.put(cell, value)

    def flush(self) -> Steps:
        """bdrv_co_flush() of the file"""
        yield
        if self.writes == self.flushed:
            return
        writes = self.writes
        begun = self.w.file.begin_flush()
        dropped: Dict[Cell, int] = {}
        self.w.flushes[id(dropped)] = dropped
        yield
        failed = self.stuck or self.w.strikes('flush')
        if failed:
            if not self.stuck:
                kinds = ('', 'DLTHXC', 'DXC', 'LTH')[self.w.choices.pick(4)]
                self.w.file.give_up(kinds)
                # QEMU's file driver sees to that.
                self.stuck = kinds != ''
            del self.w.flushes[id(dropped)]
            raise Failed
        before = {c: len(self.w.file.cells[c]) for c in begun}
        self.w.file.end_flush(begun, dropped)
        del self.w.flushes[id(dropped)]
        for other in self.w.flushes.values():
            for cell, n in before.items():
                other[cell] = (other.get(cell, 0) + n
                               - len(self.w.file.cells[cell]))
        self.flushed = max(self.flushed, writes)

    # Commits

    def stable(self, z: int) -> Entry:
        """The entry of a zone without what is not in the file"""
        cond, end, extended = self.entries[z]
        for write in self.flight[z]:
            if not write.written:
                end = write.start
                break
        if cond == FULL and end < self.c.blocks and self.flight[z]:
            cond = CLOSED
        if end == self.c.blocks:
            cond = FULL
        if end == 0 and cond == CLOSED and not extended:
            cond = EMPTY
        return cond, end, extended

    def commit(self, zones: Optional[Set[int]] = None) -> Steps:
        """Makes the changes of these zones durable, or all."""
        while self.running:
            yield
        self.running = True
        try:
            full = self.full or self.number >= self.c.slots
            names_others = False
            if full or (self.doubt and
                        self.w.mutant != 'doubt-ends-by-reset'):
                zones = None
            elif zones and self.w.mutant == 'reset-names-others':
                names_others = True
                zones = None
            if zones is None:
                some = set(self.dirty)
            else:
                some = self.dirty & zones
            yield from self.commit_some(some, zones is None, full,
                                        names_others)
        finally:
            self.running = False

    def commit_some(self, some: Set[int], everything: bool,
                    full: bool, names_others: bool) -> Steps:
        """Under the lock, up to the first I/O"""
        if full:
            some |= self.named
        taken = {z: self.stable(z) for z in some}
        lingering = set(self.lingering) if everything else set()
        self.dirty -= some
        self.generation += 1
        was_doubt = self.doubt
        self.new_doubt = False
        try:
            if full:
                yield from self.full_commit(taken)
            else:
                yield from self.log_commit(taken, names_others)
        except Failed:
            if self.w.mutant != 'failed-record-forgotten':
                self.dirty |= some
            raise
        self.saved.update(taken)
        self.lingering -= lingering
        if (was_doubt and not self.new_doubt and
                (everything or self.w.mutant == 'doubt-ends-by-reset')):
            self.doubt = False

    def drop_sums(self, generation: int) -> None:
        """Data of this generation was flushed."""
        self.sums = [s for s in self.sums if s[3] >= generation]
        if self.unsummed < generation:
            self.unsummed = 0

    def log_commit(self, taken: Dict[int, Entry],
                   names_others: bool) -> Steps:
        """A record and one flush"""
        generation = self.generation
        entries = {z: e for z, e in taken.items() if e != self.saved[z]}
        if not entries:
            return
        only_frees = all(e == NEW for e in entries.values())
        sums = [s[:3] for s in self.sums
                if s[0] in entries and s[1] < entries[s[0]][1]]
        late = bool(self.unsummed) and not only_frees
        if len(sums) > self.c.sums:
            late = True
        if self.w.mutant == 'unsummed-not-flushed':
            late = False
            sums = sums[:self.c.sums]
        if self.w.mutant == 'no-sums' or names_others:
            sums, late = [], False
        if late:
            yield from self.flush()
            self.drop_sums(generation)
            sums = []
        record = Record(self.epoch, self.number, entries, sums)
        self.last = record
        try:
            for half in self.w.order(2):
                yield from self.write(('L', self.number, half), record)
            if self.w.mutant == 'record-by-fua':
                for half in (0, 1):
                    cell = ('L', self.number, half)
                    del self.w.file.cells[cell][:-1]
            else:
                yield from self.flush()
        except Failed:
            if self.w.mutant == 'failed-record-counts':
                self.number += 1
            elif self.w.mutant != 'failed-record-replaced':
                self.full = True
            self.named |= set(entries)
            raise
        if self.w.mutant != 'record-by-fua':
            self.drop_sums(generation)
        self.number += 1
        self.named |= set(entries)

    def full_commit(self, taken: Dict[int, Entry]) -> Steps:
        """The table, then a new epoch"""
        generation = self.generation
        named = set(self.named)
        if not self.taken and self.last and self.w.mutant != 'take-over-data':
            # It may be in a cache, and clean.
            for z, b, value in self.last.sums:
                now = self.w.file.get(('D', z, b))
                if now != value and self.w.mutant != 'take-over-unchecked':
                    raise Failed
                yield from self.write(('D', z, b), now)
        if self.w.mutant != 'data-not-flushed':
            yield from self.flush()
            self.drop_sums(generation)
        self.full = True
        for z, entry in taken.items():
            if self.w.mutant == 'table-of-now':
                entry = self.stable(z)
                taken[z] = entry
            if (self.w.mutant == 'named-forgotten' and z in named
                    and entry == self.saved[z]):
                continue
            yield from self.write(('T', z), entry)
        if self.w.mutant != 'table-not-flushed':
            yield from self.flush()
        epoch = self.epoch + (self.w.mutant != 'same-epoch')
        if self.w.mutant == 'failed-head-forgotten':
            self.full = False
        yield from self.write(('H',), epoch)
        self.epoch = epoch
        if self.w.mutant != 'head-not-flushed':
            yield from self.flush()
        self.number = 0
        self.full = False
        self.taken = True
        self.last = None
        self.named -= named

    # Operations

    def is_active(self, z: int) -> bool:
        """Does it have a resource?"""
        return self.entries[z][0] == CLOSED or z in self.lingering

    def may_begin(self, z: int) -> Optional[bool]:
        """Can zone z become active? None: behind a commit"""
        if self.is_active(z) or self.w.mutant == 'no-limit':
            return True
        count = sum(self.is_active(y) for y in self.entries)
        if count < self.c.active:
            return True
        return None if self.lingering else False

    def set_state(self, z: int, entry: Entry) -> None:
        """The entry of a zone, and its resources"""
        if self.entries[z][0] == CLOSED and entry[0] != CLOSED:
            if self.w.mutant != 'no-lingering':
                self.lingering.add(z)
        self.entries[z] = entry
        self.dirty.add(z)

    def settle(self, z: int) -> Steps:
        """Waits until the zone may be written; False: it cannot be."""
        while True:
            while z in self.held or any(w.failed for w in self.flight[z]):
                yield
            if self.entries[z][0] == FULL or (
                    self.entries[z][1] >= self.c.blocks):
                return False
            may = self.may_begin(z)
            if may is False:
                return False
            if may and not self.doubt:
                return True
            yield from self.commit()

    def op_write(self, z: int, n: int, fua: bool) -> Steps:
        """A write at the write pointer"""
        if not (yield from self.settle(z)):
            return
        cond, start, extended = self.entries[z]
        n = min(n, self.c.blocks - start)
        values = [self.w.fresh() for _ in range(n)]
        write = Write(z, start, values, cond == EMPTY)
        self.flight[z].append(write)
        self.entries[z] = (CLOSED, start + n, extended)
        # Those that others sent too much before have none.
        summed = len(self.sums) + n <= self.c.sums + 1
        sent: List[Any] = list(values)
        if self.w.mutant == 'sum-not-of-copy' and self.w.choices.pick(2):
            sent = [('changed', v) for v in values]
        failed = False
        try:
            for i, value in enumerate(sent):
                yield from self.write(('D', z, start + i), value)
        except Failed:
            failed = True
        if not failed:
            write.written = True
            for i, value in enumerate(values):
                if summed:
                    self.sums.append((z, start + i, value, self.generation))
                else:
                    self.unsummed = self.generation
            self.dirty.add(z)
            write.values = sent
            self.note_stable(z)
            if fua:
                while any(w is not write and not w.written and not w.failed
                          for w in self.flight[z][
                              :self.flight[z].index(write)]):
                    yield
                if any(w.failed for w in self.flight[z]):
                    failed = True
                else:
                    noted = self.noted_up_to(write)
                    try:
                        yield from self.op_flush(noted)
                    except Failed:
                        failed = True
                        write.revoked = True
                        write.written = False
        write.done = True
        write.failed |= failed
        self.acknowledge(z)
        while write in self.flight[z]:
            yield

    def note_stable(self, z: int) -> None:
        """The judge hears what is in the file of a zone."""
        entry = self.stable(z)
        been = self.w.judge.been[z]
        # What each write has added, one after the other
        state = visible(self.w.file.get, z, entry)
        if been[-1] != state:
            before = len(been[-1][1])
            for write in self.flight[z]:
                end = write.start + len(write.values)
                if write.written and before < end < entry[1]:
                    part = (CLOSED, state[1][:end], state[2])
                    self.w.judge.become(z, part)
            self.w.judge.become(z, state)

    def noted_up_to(self, write: Write) -> List[int]:
        """What a FUA write promises: its own data, and that in front"""
        noted = [0] * (self.c.zones + 1)
        end = write.start + len(write.values)
        been = self.w.judge.been[write.z]
        for i in range(len(been) - 1, -1, -1):
            if len(been[i][1]) < end:
                break
            noted[write.z] = i
        return noted

    def acknowledge(self, z: int) -> None:
        """Ends the writes at the front that are done."""
        flight = self.flight[z]
        while flight and flight[0].done and not flight[0].failed:
            flight.pop(0)
        if flight and flight[0].failed:
            for write in flight:
                write.failed = True
            if all(write.done for write in flight):
                self.roll_back(z)
        elif not flight:
            cond, end, extended = self.entries[z]
            if cond == CLOSED and end == self.c.blocks:
                self.set_state(z, (FULL, end, extended))

    def roll_back(self, z: int) -> None:
        """The zone is as if the writes in flight had never been sent."""
        flight = self.flight[z]
        cond, _, extended = self.entries[z]
        end = flight[0].start
        if end == 0 and not extended and any(w.opened for w in flight):
            cond = EMPTY
        self.set_state(z, (cond, end, extended))
        if any(w.written or w.revoked for w in flight):
            if self.w.mutant != 'no-doubt-after-fua':
                self.doubt = self.new_doubt = True
        if self.w.mutant != 'stale-sums':
            self.sums = [s for s in self.sums if s[0] != z or s[1] < end]
        flight.clear()
        self.note_stable(z)

    def op_flush(self, noted: Optional[List[int]] = None) -> Steps:
        """A flush of the node"""
        if noted is None:
            noted = self.w.judge.now()
            for z in self.entries:
                noted[z] = self.acknowledged(z, noted[z])
        yield from self.commit()
        yield from self.flush()
        self.w.judge.promise(noted)

    def acknowledged(self, z: int, index: int) -> int:
        """The last thing that the zone was and whose writes have ended"""
        if not self.flight[z]:
            return index
        start = self.flight[z][0].start
        while index > 0 and len(self.w.judge.been[z][index][1]) > start:
            index -= 1
        return index

    def hold(self, zones: Set[int]) -> Steps:
        """Until nothing is in flight in the zones"""
        while self.held & zones:
            yield
        self.held |= zones
        while any(self.flight[z] for z in zones):
            yield

    def op_reset(self, zones: Set[int]) -> Steps:
        """A reset, durable when it is done"""
        yield from self.hold(zones)
        try:
            changed = {z for z in zones if self.entries[z] != NEW}
            ends = {z: self.entries[z][1] for z in changed}
            for z in changed:
                self.set_state(z, NEW)
                if self.w.mutant != 'stale-sums':
                    self.sums = [s for s in self.sums if s[0] != z]
                self.w.judge.become(z, (EMPTY, (), None))
            noted = self.w.judge.now()
            if self.w.mutant == 'early-exclusion':
                self.held -= zones
            if self.w.mutant == 'early-discard':
                yield from self.discard(ends)
            try:
                yield from self.commit(set(zones))
            except Failed:
                if self.w.mutant != 'no-doubt-after-reset':
                    self.doubt = self.new_doubt = True
                raise
            if self.w.mutant != 'early-exclusion':
                self.w.judge.promise(
                    [n if z in changed else 0 for z, n in enumerate(noted)])
            if self.c.discards:
                yield from self.discard(ends)
        finally:
            self.held -= zones

    def discard(self, ends: Dict[int, int]) -> Steps:
        """What the file does with it does not matter"""
        for z, end in ends.items():
            for b in range(end):
                yield from self.write(('D', z, b), 'discarded')

    def op_finish(self, z: int) -> Steps:
        """A finish, durable when it is done"""
        yield from self.hold({z})
        try:
            cond, end, extended = self.entries[z]
            if cond == FULL or not self.may_begin(z):
                return
            self.set_state(z, (FULL, end, extended))
            self.w.judge.become(z, visible(self.w.file.get, z,
                                           self.entries[z]))
            noted = [0] * (self.c.zones + 1)
            noted[z] = self.w.judge.now()[z]
            yield from self.commit()
            self.w.judge.promise(noted)
        finally:
            self.held -= {z}

    def op_extend(self, z: int) -> Steps:
        """Sets the extension of an EMPTY zone."""
        yield from self.hold({z})
        try:
            while self.entries[z] == NEW and (
                    self.doubt or self.may_begin(z) is None):
                yield from self.commit()
            if self.entries[z] != NEW or not self.may_begin(z):
                return
            value = self.w.fresh()
            yield from self.write(('X', z), value)
            while self.may_begin(z) is None:
                yield from self.commit()
            if self.doubt or not self.may_begin(z):
                return
            if self.w.mutant != 'extension-not-flushed':
                self.unsummed = self.generation
            self.set_state(z, (CLOSED, 0, True))
            self.w.judge.become(z, (CLOSED, (), value))
            noted = [0] * (self.c.zones + 1)
            noted[z] = self.w.judge.now()[z]
            try:
                yield from self.commit()
            except Failed:
                self.set_state(z, NEW)
                self.w.judge.become(z, (EMPTY, (), None))
                self.doubt = self.new_doubt = True
                raise
            self.w.judge.promise(noted)
        finally:
            self.held -= {z}

    def op_conv(self) -> Steps:
        """A write to the conventional zone"""
        # Of two in flight, either may come last.
        while self.conv_busy:
            yield
        self.conv_busy = True
        value = self.w.fresh()
        self.w.judge.conv.append(value)
        done = len(self.w.judge.conv) - 1
        try:
            yield from self.write(('C',), value)
            self.w.judge.conv_done = done
        finally:
            self.conv_busy = False


class World:
    """A file, who uses it, and who judges it"""

    # pylint: disable=too-many-instance-attributes

    cuts = 0
    seen: Set[int] = set()

    def __init__(self, config: Config, choices: Choices, mutant: str,
                 rng: random.Random) -> None:
        self.config = config
        self.choices = choices
        self.mutant = mutant
        self.rng = rng
        self.file = File()
        self.flushes: Dict[int, Dict[Cell, int]] = {}
        self.judge = Judge(config)
        self.count = 0
        self.fault = ''
        self.log: List[str] = []
        self.driver = Driver(self)
        self.running: List[Tuple[str, Steps]] = []

    def fresh(self) -> int:
        """A value that nothing else has"""
        self.count += 1
        return self.count

    def order(self, n: int) -> List[int]:
        """In which sectors of one write come to the disk"""
        return list(range(n)) if not self.choices.pick(2) else [
            *range(n)][::-1]

    def strikes(self, kind: str) -> bool:
        """Is it the moment of the fault that is to come?"""
        if self.fault == kind and self.choices.pick(2):
            self.log.append(f'{kind} fails')
            self.fault = ''
            return True
        return False

    def look(self, what: str) -> None:
        """Judges all that a power cut may leave."""
        for image in self.file.cuts(48, self.rng):
            World.cuts += 1
            self.judge.look(image.get, self.mutant, what)

    def reopen(self, image: Optional[Dict[Cell, Any]]) -> None:
        """A new process: after a power cut, or with the caches as they are"""
        if image is not None:
            self.file.cells = {c: [v] for c, v in image.items()}
            self.file.dirty.clear()
        self.running.clear()
        self.flushes.clear()
        get = self.file.get
        if self.choices.chance(8):
            try:
                entries, _, _ = recover(get, self.config, self.mutant, True)
                self.judge.look_at(entries, get, 'read error')
            except Failed:
                pass
        self.judge.look(get, self.mutant, 'reopened')
        self.driver = Driver(self)
        states = [visible(get, z, self.driver.entries[z])
                  for z in range(self.config.zones)]
        self.judge.restart(states, get(('C',)), image is not None)

    def reader(self) -> Steps:
        """Opens the image beside the writer, and writes nothing."""
        floor = list(self.judge.floor)
        for _ in range(4):
            image: Dict[Cell, Any] = {}

            def get(cell: Cell) -> Any:
                # pylint: disable=cell-var-from-loop
                return image.get(cell)

            cells: List[Cell] = [('H',)]
            cells += [('L', s, h) for s in range(self.config.slots)
                      for h in (0, 1)]
            cells += [('T', z) for z in range(self.config.zones)]
            for cell in cells:
                for _ in range(1 + self.choices.pick(8)):
                    yield
                image[cell] = self.file.get(cell)
            # The rest is looked at by whoever reads it.
            for cell in self.file.cells:
                if cell[0] in 'DXC':
                    image[cell] = self.file.get(cell)
            again = [self.file.get(cell) for cell in cells]
            if self.mutant == 'reader-looks-once' or (
                    again[:1 + 2 * self.config.slots] ==
                    [image[c] for c in cells[:1 + 2 * self.config.slots]]):
                self.look_beside(get, floor)
                return

    def look_beside(self, get: Any, floor: List[int]) -> None:
        """What a reader beside a writer takes for true"""
        entries, _, _ = recover(get, self.config, self.mutant)
        for z, entry in entries.items():
            # Data may go meanwhile; what the zone is must have been.
            been = [(s[0], len(s[1])) for s in self.judge.been[z][floor[z]:]]
            if (entry[0], entry[1]) not in been:
                raise Bad(f'reader: zone {z} is {entry}, was {been}')
        if sum(e[0] == CLOSED for e in entries.values()) > self.config.active:
            raise Bad('reader: too many active zones')

    def start(self) -> None:
        """Another operation"""
        z = self.choices.pick(self.config.zones)
        kind = self.choices.pick(11)
        d = self.driver
        names = ['write', 'flush', 'reset', 'write 2', 'fua', 'finish',
                 'extend', 'conv', 'reset all', 'reader', 'fua 2']
        steps: List[Callable[[], Steps]] = [
            lambda: d.op_write(z, 1, False), d.op_flush,
            lambda: d.op_reset({z}), lambda: d.op_write(z, 2, False),
            lambda: d.op_write(z, 1, True), lambda: d.op_finish(z),
            lambda: d.op_extend(z), d.op_conv,
            lambda: d.op_reset(set(range(self.config.zones))),
            self.reader, lambda: d.op_write(z, 2, True)]
        name = f'{names[kind]} {z}'
        self.log.append(name)
        self.running.append((name, steps[kind]()))

    def step(self, which: int) -> None:
        """One of the operations goes on, up to its next I/O."""
        name, steps = self.running[which]
        before = self.state()
        try:
            next(steps)
        except StopIteration:
            del self.running[which]
            self.log.append(f'{name} done')
        except Failed:
            del self.running[which]
            self.log.append(f'{name} failed')
        if self.state() != before:
            self.look('power cut')

    def state(self) -> Tuple[int, int, int]:
        """Whether there is something new to look at"""
        return (sum(map(len, self.file.cells.values())),
                sum(self.judge.floor), sum(map(len, self.judge.been)))

    def upset(self) -> None:
        """A power cut, a kill, or a page that goes"""
        kind = self.choices.pick(3)
        self.log.append(('kill', 'power cut', 'evict')[kind])
        if kind == 2:
            self.file.evict(self.choices)
        elif kind == 1:
            image = {c: v[-1] for c, v in self.file.cells.items()}
            for cell, options in self.file.open_cells():
                image[cell] = options[self.choices.pick(len(options))]
            self.reopen(image)
        else:
            self.reopen(None)
            if self.choices.pick(2):
                # Behind what the new process has read
                self.file.evict(self.choices)

    def run(self, ops: int) -> None:
        """A history"""
        idle = 0
        while ops > 0 or self.running:
            # A process whose flushes all fail soon ends.
            if self.choices.chance(6 if self.driver.stuck else 40):
                self.upset()
            if not self.fault and self.choices.chance(30):
                self.fault = ('flush', 'write')[self.choices.pick(2)]
            n = len(self.running)
            if ops > 0 and n < self.config.at_once and (
                    n == 0 or self.choices.chance(6)):
                self.start()
                ops -= 1
                continue
            if not n:
                continue
            self.step(self.choices.pick(n))
            idle += 1
            if idle > 3000:
                raise Bad(f'no end: {[name for name, _ in self.running]}')


def one(seed: int, mutant: str) -> Optional[str]:
    """A random history; what is bad in it"""
    rng = random.Random(seed)
    world = World(Config(rng), Choices(rng), mutant, rng)
    try:
        world.run(rng.randint(2, 14))
    except Bad as bad:
        return (f'{bad}\n  seed {seed}, {vars(world.config)}\n  '
                + ', '.join(world.log))
    return None


def hunt(mutant: str, seconds: float, seed: int) -> Tuple[int, Optional[str]]:
    """How many histories, and the first that is bad"""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        count += 1
        bad = one(seed + count, mutant)
        if bad:
            return count, bad
    return count, None


def main() -> int:
    """Command line"""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('mutant', nargs='*', choices=[[], *MUTANTS])
    parser.add_argument('--seconds', type=float, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--mutants', action='store_true')
    parser.add_argument('--list', action='store_true')
    args = parser.parse_args()
    if args.list:
        for name, what in MUTANTS.items():
            print(f'{name:<24} {what}')
        return 0
    missed = 0
    for mutant in MUTANTS if args.mutants else args.mutant or ['']:
        World.cuts = 0
        count, bad = hunt(mutant, args.seconds, args.seed)
        print(f'{mutant or "protocol"}: {"BAD" if bad else "good"} after '
              f'{count} histories, {World.cuts} power cuts'
              + (f': {bad}' if bad else ''), flush=True)
        missed += bool(bad) == (mutant == '')
    return int(missed > 0)


if __name__ == '__main__':
    sys.exit(main())
