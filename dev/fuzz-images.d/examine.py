# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU must do with one image, given what the reader says of it."""

import json
import re
from pathlib import Path
from random import Random
from typing import Dict, List, Set, Tuple, Union

from drafts import Draft
from programs import QemuIo, ReportLine
from zoned_image import (
    CLOSED, EMPTY, EOPEN, FULL, IOPEN, NOT_WP, OFFLINE, SECTOR, Header, Image,
    SoundZones, Zone, fingerprint, read_at, same_zones)

EXTREME_OFFSETS = [0, 1, 511, 512, (1 << 31), (1 << 32), (1 << 43), (1 << 58),
                   (1 << 62), (1 << 63) - 4096, (1 << 63) - 512, (1 << 63) - 1]
MAX_REPORT = 4096       # zones


class Wrong(Exception):
    """The programs disagree with the reader, or with themselves."""


def demand(condition: object, *words: object) -> None:
    """Or else it is Wrong, as the words say."""
    if not condition:
        raise Wrong(' '.join(str(word) for word in words))


class Examination:
    """Of the image in a file; counts what it sees."""

    def __init__(self, shell: QemuIo, path: Path, draft: Draft,
                 rng: Random) -> None:
        self.shell = shell
        self.rng = rng
        self.place = path, draft.base, draft.opt_len
        self.counts: Dict[str, int] = {}
        self.options = f'driver=zoned,file.driver=file,file.filename={path}'
        if draft.base:
            self.options += f',offset={draft.base}'
        if draft.opt_len is not None:
            self.options += f',len={draft.opt_len}'
        self.image = self.read()

    def read(self) -> Image:
        """The image as it is now"""
        return Image(*self.place)

    @property
    def path(self) -> Path:
        """Of its file"""
        return self.place[0]

    def count(self, what: str, number: int = 1) -> None:
        """For the figures"""
        self.counts[what] = self.counts.get(what, 0) + number

    @property
    def zones(self) -> int:
        """How many the header says there are, to bound what is used."""
        return self.image.found.nr_zones if self.image.found else 0

    def examine(self, with_tools: bool) -> None:
        """All of it"""
        self.count('images')
        if self.image.valid:
            self.count('valid')
            self.count('with records', self.image.records > 0)
            self.count('without a log', not self.image.writable)
        elif self.image.rebuilt:
            self.count('header to be rebuilt')
        elif self.image.found:
            self.count('bad zones or length')
        else:
            self.count('bad header')
        self.look()
        if with_tools:
            self.count('checked by qemu-img')
            if self.image.found:
                self.ask_qemu_img()
            else:
                self.expect_refusal()
            if self.image.valid:
                self.look()
        if self.image.valid:
            if not self.image.writable:
                self.expect_read_only()
                return
            self.use()
            if with_tools:
                self.expect_clean()

    def ask_qemu_img(self) -> None:
        """Of an image that has a header"""
        if self.image.valid or self.rng.random() < 0.3:
            self.info()
        # To rebuild a header takes long.
        if not self.image.rebuilt or self.rng.random() < 0.3:
            self.check()
        self.repair()

    # qemu-io, read-only

    def look(self) -> None:
        """Open read-only: iff it is valid, and without any change."""
        before = fingerprint(self.path)
        said = self.shell.open(self.options, read_only=True)
        opened = "can't open" not in said
        demand(opened == self.image.valid, 'the driver says:',
               said.strip() or 'opened', '; the reader says:',
               self.verdict())
        if opened:
            self.look_at_zones()
            self.look_at_extensions()
            self.look_at_data()
            self.try_to_change()
            self.shell.command('close')
        self.shell.check_memory(self.zones)
        demand(fingerprint(self.path) == before, 'a read-only open wrote')

    def verdict(self) -> str:
        """What the reader says of the image"""
        image = self.image
        if image.valid:
            return 'valid'
        if image.why:
            return image.why
        return (f'impossible zones {image.impossible()[:5]}, beyond the limit '
                f'{image.surplus()[:5]}, short: {image.is_short()}')

    def windows(self) -> Set[Tuple[int, int]]:
        """Some runs of zones: (first, count)."""
        size = 64
        last = max(self.zones - size, 0)
        return {(0, size), (last, size), (self.rng.randint(0, last), size)}

    def look_at_zones(self) -> None:
        """The report is what the reader reads."""
        header, zones = self.image.header, self.image.opened()
        for first, size in self.windows():
            seen = self.shell.report(first * header.zone_size, size)
            count = min(size, header.nr_zones - first)
            expected = [describe(header, i, zones[i])
                        for i in range(first, first + count)]
            demand(seen == expected, 'report', seen, 'expected', expected)
        self.count('zones reported', sum(min(size, self.zones)
                                         for _, size in self.windows()))

    def look_at_extensions(self) -> None:
        """Of some zones: what the file has if they are valid, or zeroes."""
        header, zones = self.image.header, self.image.opened()
        extended = [] if self.image.pristine else [
            i for i, zone in enumerate(zones) if zone.extended]
        first = self.rng.choice(extended or [self.rng.randrange(self.zones)])
        count = min(4, self.zones - first)
        said = self.shell.command(f'zge {header.start(first)} {count}')
        if not header.extension_size:
            demand('not supported' in said, 'zge without extensions:', said)
            return
        expected = []
        where, size = header.extension_offset, header.extension_size
        with open(self.path, 'rb') as f:
            for i in range(first, first + count):
                expected.append(
                    read_at(f, self.image.base + where + i * size, size)
                    if zones[i].extended else bytes(size))
        demand(said.split() == [data.hex() for data in expected],
               'extensions of zones from', first, 'are', said[:400])
        self.count('extensions seen', sum(map(any, expected)))

    def look_at_data(self) -> None:
        """Sectors: what the file has below the write pointer, else zeroes."""
        zones = self.image.opened()
        for _ in range(4):
            i = self.rng.randrange(self.zones)
            self.compare_sector(i, zones[i])
        size = min(self.image.header.size, 1 << 20)
        self.shell.command(f'read -q 0 {size}')
        if self.zones <= MAX_REPORT:
            self.shell.command('map')

    def compare_sector(self, i: int, zone: Zone) -> None:
        """One of a zone"""
        header = self.image.header
        start, limit = header.start(i), header.limit(i)
        where = self.rng.choice([start, limit - SECTOR, zone.end,
                                 max(zone.end - SECTOR, start),
                                 self.rng.randrange(start, limit)])
        where = min(where // SECTOR * SECTOR, limit - SECTOR)
        said = self.shell.command(f'read -v {where} {SECTOR}')
        if zone.cond == OFFLINE:
            demand('Operation not permitted' in said, 'read of OFFLINE zone',
                   i, 'gave', said[:200])
            return
        expected = bytes(SECTOR)
        if where < zone.end:
            with open(self.path, 'rb') as f:
                expected = read_at(f, self.image.base + header.data_offset
                                   + where, SECTOR)
        seen = bytes.fromhex(''.join(
            re.findall(r'^[0-9a-f]+:  ((?:[0-9a-f]{2} )+)', said, re.M)))
        demand(seen == expected, 'sector at', where, 'of zone', i, zone,
               'reads as', said[:200])

    def try_to_change(self) -> None:
        """A read-only node takes no zone operations."""
        size = self.image.header.zone_size
        i = self.zones - 1
        length = self.image.header.limit(i) - i * size
        for name in ('zo', 'zc', 'zf', 'zrs', 'zof'):
            said = self.shell.command(f'{name} {i * size} {length}')
            demand('read-only' in said, name, 'read-only:', said)
        said = self.shell.command(f'zap -p {i * size} 512')
        demand('not supported' in said or 'read-only' in said,
               'zap read-only:', said)

    # qemu-io, writing

    def expect_read_only(self) -> None:
        """An image without a log is not written, and says what to do."""
        before = fingerprint(self.path)
        said = self.shell.open(self.options, read_only=False)
        demand("can't open" in said and 'convert' in said,
               'without a log, opening for writing:', said)
        demand(fingerprint(self.path) == before, 'that wrote')

    def use(self) -> None:
        """Do things; what the report says then is what is in the image."""
        said = self.shell.open(self.options, read_only=False)
        demand(not said, 'cannot be opened for writing:', said)
        most = self.zones
        for _ in range(self.rng.randint(4, 14)):
            command = self.random_command()
            said = self.shell.command(command)
            if command.startswith('truncate') and not said:
                most = max(most, int(command.split()[1])
                           // self.image.header.zone_size)
            self.count('operations that succeeded', 'failed' not in said)
            self.count('operations')
        self.shell.command('aio_flush')
        seen = self.shell.report(0, MAX_REPORT)
        self.shell.command('close')
        self.image = after = self.read()
        demand(after.valid, 'after writing:', self.verdict())
        demand(after.records == 0, 'records are left in the log')
        demand(after.header.autoclear == 0, 'autoclear bits are left')
        self.shell.check_memory(most)
        zones = after.opened()
        count = min(self.zones, MAX_REPORT)
        expected = [describe(after.header, i, zones[i]) for i in range(count)]
        demand([cycled(line, after.zone(i).extended)
                for i, line in enumerate(seen)] == expected,
               'reported before closing', seen, 'is in the image', expected)

    def random_offset(self) -> int:
        """A byte where something may happen"""
        rng, header = self.rng, self.image.header
        i = rng.randrange(header.nr_zones)
        return rng.choice([
            header.start(i), header.start(i), self.image.zone(i).end,
            self.image.zone(i).end, self.image.zone(i).end, header.limit(i),
            header.cap_limit(i), rng.randrange(header.size), header.size,
            header.size - 512, rng.choice(EXTREME_OFFSETS)])

    def random_command(self) -> str:
        """For qemu-io"""
        rng, header = self.rng, self.image.header
        offset = self.random_offset()
        length = rng.choice([512, 512, 4096, 4096, 8192, 65536, 65536, 1, 0,
                             rng.randrange(1 << 18), header.zone_capacity])
        length = min(length, 1 << 18)
        kind = rng.randrange(11)
        if kind == 10:
            start = offset // header.zone_size * header.zone_size
            return rng.choice([f'zse -P {rng.randrange(256)} {start}',
                               f'zse {offset}', f'zge {start} 1',
                               f'zge {offset} {rng.choice([0, 2, 64])}'])
        if kind < 3:
            words = rng.choice(['write', 'write -f', 'write -z', 'write -zu',
                                'aio_write', 'aio_write -f'])
            return f'{words} {offset} {length}'
        if kind < 5:
            start = offset // header.zone_size * header.zone_size
            return f'zap -p {rng.choice([start, start, offset])} {length}'
        if kind < 8:
            return self.random_management()
        return rng.choice([
            f'read -q {offset} {length}', f'aio_read -q {offset} {length}',
            f'discard {offset} {length}', 'flush', 'aio_flush', 'info',
            f'zrp {offset} {rng.choice([0, 1, 64, 5000])}',
            f'truncate {rng.choice([offset, length])}', 'length',
            f'readv -q {offset} 512 1024', f'alloc {offset} {length}'])

    def random_management(self) -> str:
        """Of one zone, some or all"""
        rng, header = self.rng, self.image.header
        name = rng.choice(['zo', 'zo', 'zc', 'zf', 'zf', 'zrs', 'zrs', 'zof'])
        if rng.random() < 0.1:
            return f'{name} 0 {header.size}'
        first = rng.randrange(header.nr_zones)
        last = min(first + rng.choice([0, 0, 0, 1, 3]), header.nr_zones - 1)
        start = header.start(first)
        length = header.limit(last) - start
        if rng.random() < 0.1:
            start = self.random_offset()
        if rng.random() < 0.1:
            length = self.random_offset()
        return f'{name} {start} {length}'

    # qemu-img

    def qemu_img(self, *words: str) -> Tuple[int, str]:
        """What it says of the image, opened in one of the ways there are"""
        where = ['--image-opts', self.options]
        if self.place[1:] == (0, None) and self.rng.random() < 0.5:
            where = ['-f', 'zoned', str(self.path)]
        return self.shell.programs.run('qemu-img', *words, *where,
                                       zones=self.zones)

    def info(self) -> None:
        """It is shown if it is valid."""
        status, said = self.qemu_img('info')
        demand(status == (0 if self.image.valid else 1), 'info:', status, said)

    def expect_refusal(self) -> None:
        """Of a header that nothing can be made of; it stays as it is."""
        before = fingerprint(self.path)
        # So does to find out that it cannot be rebuilt.
        words = self.rng.choice([['info']] * 14
                                + [['check'], ['check', '-r', 'all']])
        status, said = self.qemu_img(*words)
        demand(status == 1, *words, 'of a bad header:', status, said)
        demand(fingerprint(self.path) == before, *words, 'wrote:', said)

    def problems(self) -> int:
        """How many a check has to find."""
        image = self.image
        return (image.rebuilt + len(image.impossible())
                + len(image.surplus()) + image.is_short())

    def check(self) -> None:
        """Finds and counts all there is, and changes nothing."""
        before = fingerprint(self.path)
        expected = self.problems()
        # There are no leaks in this format: nothing to repair.
        options: List[List[str]] = [[], ['-r', 'leaks']]
        words = self.rng.choice(options)
        status, said = self.qemu_img('check', '--output=json', *words)
        demand(status == (2 if expected else 0) and
               corruptions(said) == expected,
               'check:', status, said[-2000:], '; problems:', expected)
        demand(fingerprint(self.path) == before, 'a check wrote')

    def repair(self) -> None:
        """Makes it valid without giving up data, or changes nothing."""
        before = fingerprint(self.path)
        image = self.image
        status, said = self.qemu_img('check', '-r', 'all')
        self.image = self.read()
        if image.valid:
            demand(status == 0 and fingerprint(self.path) == before,
                   'a repair that had nothing to do:', status, said)
            return
        if status != 0:
            # The host has a limit, too.
            demand('too large' in said or 'No space' in said, 'repair:',
                   status, said)
            self.count('too large to repair')
            self.after_failed_repair(image)
            return
        self.after_repair(image, said)

    def after_failed_repair(self, image: Image) -> None:
        """It may have done a part of its work."""
        demand(self.image.found, 'a failed repair:', self.verdict())
        for i in self.image.impossible():
            demand(image.zones[i] is None, 'a failed repair broke zone', i)

    def after_repair(self, image: Image, said: str) -> None:
        """It was made valid, and of its data nothing was given up."""
        demand(self.image.valid, 'after a repair:', self.verdict(), said)
        demand(same_zones(self.image.opened(), image.repaired()),
               'a repair made', different(self.image.opened(),
                                          image.repaired()))
        self.count('repaired')
        between = fingerprint(self.path)
        self.expect_clean('-r', 'all')
        demand(fingerprint(self.path) == between, 'a second repair wrote')

    def expect_clean(self, *words: str) -> None:
        """A check finds nothing."""
        status, said = self.qemu_img('check', *words)
        demand(status == 0 and 'ERROR' not in said and 'Repair' not in said,
               'check', *words, 'is not clean:', status, said)


def corruptions(said: str) -> Union[int, str]:
    """What a check in JSON says; what it found is printed before that."""
    start = said.rfind('{\n')
    try:
        number = json.loads(said[max(start, 0):]).get('corruptions', 0)
        return int(number)
    except ValueError:
        return 'no JSON'


def describe(header: Header, i: int, zone: Zone) -> ReportLine:
    """A line of a report."""
    wp = zone.end
    if zone.cond in (FULL, NOT_WP):
        wp = header.limit(i)
    return (header.start(i), header.limit(i) - header.start(i),
            header.cap_limit(i) - header.start(i), wp, zone.cond,
            1 if header.is_conv(i) else 2)


def cycled(line: ReportLine, extended: bool) -> ReportLine:
    """A line of a report, as it is after opening again."""
    start, length, capacity, wp, cond, kind = line
    if cond in (IOPEN, EOPEN, CLOSED):
        cond = EMPTY if wp == start and not extended else CLOSED
    return start, length, capacity, wp, cond, kind


def different(seen: SoundZones, expected: SoundZones
              ) -> List[Tuple[int, Zone, Zone]]:
    """Some of the zones that are"""
    return [(i, *pair) for i, pair in enumerate(zip(seen, expected))
            if pair[0] != pair[1]][:5]
