# SPDX-License-Identifier: GPL-2.0-or-later
"""What dev/bench measures with: images, runs, comparisons, tables."""

import copy
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import (
    Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple,
    TypeVar)

from guest_of_qtest import BATCH, IN, OUT, Guest
from project import BASE_VERSION, BUILD

FOLDER = BUILD / 'bench'
BIN = BUILD / 'bin'
OURS = BUILD / BASE_VERSION
UNPATCHED = BUILD / 'unpatched' / BASE_VERSION
PROGRAM = 'tests/bench/zoned-bench'

# Seconds that one run of a contestant is meant to take
RUN_TIME = 0.4
STARTED = time.monotonic()

# Arguments of measure() by their names: most are options of the program.
Options = Dict[str, Any]
Value = TypeVar('Value')


def say(text: str) -> None:
    """Progress, as the other commands show it."""
    print(f'[{time.monotonic() - STARTED:4.0f}s] {text}', flush=True)


def run(*command: object) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run([str(word) for word in command], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


class Disk:
    """A contestant: a block node, and the build whose block layer it has."""

    build = OURS

    def unpatched(self) -> 'Disk':
        """The same in a build without this project."""
        disk = copy.copy(self)
        disk.build = UNPATCHED
        return disk

    def node(self, delay: bool = False) -> str:
        """Its options."""
        raise NotImplementedError

    def blockdev(self) -> str:
        """Those of -blockdev, for a disk without the host's cache."""
        return self.node()


class Null(Disk):
    """A disk that does nothing: what is measured is the way to it."""

    def __init__(self, size: int) -> None:
        self.size = size

    def node(self, delay: bool = False) -> str:
        assert not delay
        return f'driver=null-co,size={self.size},read-zeroes=off'


class Image(Disk):
    """An image of a format, and how it is opened."""

    def __init__(self, name: str, fmt: str, size: int,
                 options: Sequence[str] = (), folder: Path = FOLDER) -> None:
        self.name = name
        self.format = self.driver = fmt
        self.path = folder / f'{name}.{fmt}'
        folder.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        run(BIN / 'qemu-img', 'create', '-q', '-f', fmt,
            *[word for option in options for word in ('-o', option)],
            self.path, size)

    def beneath(self) -> 'Image':
        """The data of this image as a raw one: the same blocks of the disk."""
        image = copy.copy(self)
        first = json.loads(run(BIN / 'qemu-img', 'map', '--output=json',
                               '-f', self.format, self.path))[0]
        image.format = 'raw'
        image.driver = f"raw,offset={first['offset']}"
        return image

    def node(self, delay: bool = False) -> str:
        """The image as a block node; with delay, its flushes take longer."""
        below = 'file.file' if delay else 'file'
        return (f'driver={self.driver},'
                + ('file.driver=delay,' if delay else '')
                + f'{below}.driver=file,{below}.filename={self.path},'
                # A reset gives nothing back, so that all write to a file that
                # has its blocks.
                + f'{below}.discard=ignore')

    def blockdev(self) -> str:
        return self.node() + ',file.cache.direct=on,file.aio=native'

    def sibling(self, name: str, fmt: str) -> 'Image':
        """An image that is not there yet, in the same folder."""
        image = copy.copy(self)
        image.name = name
        image.format = image.driver = fmt
        image.path = self.path.with_name(f'{name}.{fmt}')
        return image

    def write_at(self, offsets: Iterable[int], length: int) -> None:
        """Gives a raw file data that is not zero."""
        data = os.urandom(length)
        with open(self.path, 'r+b') as f:
            for offset in offsets:
                f.seek(offset)
                f.write(data)

    def fill(self, size: int) -> None:
        """Gives the file its blocks: a file system takes time for that."""
        measure(self, op='write', size=1 << 20, count=size >> 20, direct=True)


def arguments(image: Disk, delay: Optional[int] = None, direct: bool = False,
              **options: Any) -> List[str]:
    """Of the program."""
    words = ['--direct'] if direct else []
    for name, value in options.items():
        words += ['--' + name.replace('_', '-'), str(value)]
    if delay is not None:
        words += ['--delay', str(delay)]
    return [*words, image.node(delay is not None)]


def measure(image: Disk, prefix: Sequence[object] = (),
            **options: Any) -> Dict[str, float]:
    """One run: what the program says of it."""
    result: Dict[str, float] = json.loads(
        run(*prefix, image.build / PROGRAM, *arguments(image, **options)))
    return result


def rate(image: Disk, **options: Any) -> float:
    """Requests in a second."""
    result = measure(image, **options)
    return result['requests'] / result['seconds']


def calibrated(image: Disk, limit: int, **options: Any) -> int:
    """How many requests take about RUN_TIME; at most limit."""
    count = min(limit, 2000)
    return max(100, min(limit, int(rate(image, count=count, **options)
                                   * RUN_TIME)))


def collected(out: Path) -> int:
    """The instructions in a file of callgrind."""
    found = re.search(r'^(?:totals|summary): (\d+)', out.read_text(), re.M)
    assert found, out
    return int(found[1])


def instructions(image: Disk, counts: Tuple[int, int] = (2000, 6000),
                 **options: Any) -> float:
    """Instructions of a request, as the difference of two runs says."""
    totals = []
    for count in counts:
        # Before a run, all zones are reset; then there is one each time.
        measure(image, count=1, **options)
        out = FOLDER / 'callgrind.out'
        measure(image, ('valgrind', '-q', '--tool=callgrind',
                        f'--callgrind-out-file={out}'), count=count, **options)
        totals.append(collected(out))
    return (totals[1] - totals[0]) / (counts[1] - counts[0])


def device_instructions(disk: Disk, folder: Path = FOLDER,
                        batches: Tuple[int, int] = (2, 12)) \
        -> Dict[str, float]:
    """
    Instructions of a 4 KiB request of a guest, by virtio-blk and what is below
    it: a dictionary of operations. Callgrind counts anew at each of these
    commands, and once more when the QMP connection begins.
    """
    out = folder / 'callgrind.out'
    with Guest(disk.build / 'qemu-system-x86_64', disk.blockdev(), folder,
               ('valgrind', '-q', '--tool=callgrind',
                f'--callgrind-out-file={out}',
                '--dump-before=qmp_query_version')) as guest:
        for kind in (OUT, IN):
            guest.describe(kind)
            # What is done at first only
            guest.run(2)
            for number in batches:
                guest.qmp.command('query-version')
                guest.run(number)
            guest.qmp.command('query-version')
    counts = [collected(out.with_name(f'callgrind.out.{n}'))
              for n in (3, 4, 6, 7)]
    per = (batches[1] - batches[0]) * BATCH
    return {'write': (counts[1] - counts[0]) / per,
            'read': (counts[3] - counts[2]) / per}


def calls(image: Disk, name: str, **options: Any) -> int:
    """How often a run makes a system call of that name."""
    out = FOLDER / 'strace.out'
    measure(image, ('strace', '-f', '-c', '-o', out, '-e', 'trace=' + name),
            **options)
    # % time, seconds, usecs/call, calls, maybe errors, the name
    found = re.search(r'^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*' + name + '$',
                      out.read_text(), re.M)
    return int(found[1]) if found else 0


class Cost(NamedTuple):
    """Seconds that a program takes"""
    time: float
    processor: float


def convert(source: Image, target: Image, options: Sequence[str] = ()) -> Cost:
    """What qemu-img takes for it"""
    def processor() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    target.path.unlink(missing_ok=True)
    before, start = processor(), time.monotonic()
    run(BIN / 'qemu-img', 'convert', '-f', source.format, '-O', target.format,
        *[word for option in options for word in ('-o', option)],
        source.path, target.path)
    return Cost(time.monotonic() - start, processor() - before)


def interleave(rounds: int,
               *runs: Callable[[], Value]) -> List[List[Value]]:
    """What each of the runs gives in each round; the order alternates."""
    values: List[List[Value]] = [[] for _ in runs]
    for n in range(rounds):
        order = range(len(runs))
        for i in order if n % 2 == 0 else reversed(order):
            values[i].append(runs[i]())
    return values


class Row(NamedTuple):
    """A figure, and what it is made of."""
    what: str
    left: str
    right: str
    value: float
    low: float
    high: float
    bound: Optional[float]
    must_be: str
    good: bool


class Report:
    """The table, and whether each figure is what it must be."""

    def __init__(self) -> None:
        self.rows: List[Row] = []
        self.missed: List[str] = []

    def add(self, what: str, left: Sequence[float], right: Sequence[float], *,
            bound: Optional[float] = None, unit: str = '/s',
            more_is_better: bool = True) -> None:
        """
        Compares the values of two contestants, round by round: left over
        right, which must be at least (or at most) the bound, if there is one.
        """
        ratios = [a / b for a, b in zip(left, right)]
        self.single(what, statistics.median(ratios), bound, more_is_better,
                    f'{statistics.median(left):.4g}{unit}',
                    f'{statistics.median(right):.4g}{unit}',
                    (min(ratios), max(ratios)))

    def single(self, what: str, value: float, bound: Optional[float],
               more_is_better: bool = False, left: str = '', right: str = '',
               spread: Optional[Tuple[float, float]] = None) -> None:
        """A figure of its own"""
        good = bound is None or (
            value >= bound if more_is_better else value <= bound)
        self.rows.append(Row(
            what, left, right, value,
            low=spread[0] if spread else value,
            high=spread[1] if spread else value,
            bound=bound,
            must_be='' if bound is None else
                    f"{'>=' if more_is_better else '<='} {bound:g}",
            good=good))
        if not good:
            self.missed.append(what)
        say(self.line(self.rows[-1]))

    @staticmethod
    def line(row: Row) -> str:
        """One figure, readable."""
        return (f'{row.what:<46} {row.left:>11} {row.right:>11} '
                f'{row.value:8.3f} {row.low:8.3f} {row.high:8.3f}  '
                f'{row.must_be:<9}'
                + ('' if row.good else ' MISSED'))

    def text(self) -> str:
        """All of it."""
        head = (f"{'':<46} {'ours':>11} {'other':>11} {'ratio':>8} "
                f"{'least':>8} {'most':>8}  must be")
        return '\n'.join([head, *map(self.line, self.rows)])

    def plot(self, path: Path) -> None:
        """The ratios as an SVG picture, by gnuplot."""
        data = path.with_suffix('.dat')
        data.write_text(''.join(
            f'{len(self.rows) - i} {row.value} {row.low} {row.high} '
            f'{"?" if row.bound is None else row.bound} '
            f'"{row.what}"\n'
            for i, row in enumerate(self.rows)), encoding='utf-8')
        script = f'''
set datafile missing "?"
set terminal svg size 900,{60 + 22 * len(self.rows)} font "sans,11"
set output "{path}"
set logscale x 2
set grid x
set yrange [0:{len(self.rows) + 1}]
set key top outside horizontal
plot "{data}" using 2:1:3:4:ytic(6) with xerrorbars pt 7 title "ratio", \\
     "" using 5:1 with points pt 2 title "bound"
'''
        subprocess.run(['gnuplot'], input=script, text=True, check=True)
