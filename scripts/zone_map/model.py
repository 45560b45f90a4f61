# SPDX-License-Identifier: GPL-2.0-or-later
"""Zones of a disk, in cells of one or more of them."""

from typing import Dict, Iterable, List, NamedTuple, Optional


class ZoneMapError(Exception):
    """What the user is told, in one line."""


class DiskChanged(ZoneMapError):
    """The disk has another size than it had."""

    def __init__(self) -> None:
        super().__init__('the disk has another size than it had')


class Condition(NamedTuple):
    """A condition of zones, and how it is shown."""
    name: str           # as QMP has it
    letter: str
    background: int     # of ANSI's colours
    colour: str         # of pages and pictures


# The first that a cell has is the one that it shows; of the last three, it is
# the one that most of its zones have.
CONDITIONS = (
    Condition('offline', 'X', 45, '#7b1fa2'),
    Condition('read-only', 'R', 41, '#c62828'),
    Condition('explicitly-open', 'O', 102, '#00b341'),
    Condition('implicitly-open', 'o', 42, '#43a047'),
    Condition('closed', 'c', 43, '#f9a825'),
    Condition('full', 'F', 44, '#1e63c4'),
    Condition('empty', '.', 47, '#e4e7eb'),
    Condition('not-write-pointer', '=', 46, '#90a4ae'),
)
CONDITION = {condition.name: condition for condition in CONDITIONS}
COMMON = ('full', 'empty', 'not-write-pointer')
WITH_WRITE_POINTER = ('empty', 'implicitly-open', 'explicitly-open', 'closed')


class Disk(NamedTuple):
    """A disk and its limits, which are 0 if there are none."""
    name: str
    size: int
    zone_length: int
    zones: int
    max_open: int = 0
    max_active: int = 0

    def start(self, zone: int) -> int:
        """Where a zone starts, or the last one ends."""
        return min(zone * self.zone_length, self.size)


class Cell(NamedTuple):
    """Zones in a row, and what they are in sum."""
    first: int
    zones: int
    counts: Dict[str, int]      # by condition, those that occur
    capacity: int               # of sequential zones, and what was written
    written: int

    @property
    def shown(self) -> Condition:
        """The condition that stands for all of them."""
        for condition in CONDITIONS:
            if condition.name in self.counts and \
               condition.name not in COMMON:
                return condition
        return CONDITION[max(COMMON,
                             key=lambda name: self.counts.get(name, 0))]

    @property
    def fill(self) -> float:
        """How much of the capacity was written, 0 to 1."""
        return self.written / self.capacity if self.capacity else 0.0


class Frame(NamedTuple):
    """A disk at a moment."""
    time: float                 # seconds
    cells: List[Cell]
    open: Optional[int]         # zones of the disk; None: not known
    active: Optional[int]
    counters: Dict[str, int]    # what has been done; there may be none


class View(NamedTuple):
    """Zones that are to be shown, in so many cells at most."""
    first: int
    zones: int
    cells: int


def boundaries(view: View) -> List[int]:
    """Where cells begin, and the last one ends: zones divided evenly."""
    cells = min(view.cells, view.zones)
    return [view.first + i * view.zones // cells for i in range(cells + 1)]


def merge(cells: Iterable[Cell]) -> Cell:
    """One cell of neighbours."""
    parts = list(cells)
    counts: Dict[str, int] = {}
    zones = capacity = written = 0
    for part in parts:
        zones += part.zones
        capacity += part.capacity
        written += part.written
        for name, count in part.counts.items():
            counts[name] = counts.get(name, 0) + count
    return Cell(parts[0].first, zones, counts, capacity, written)


def size_text(size: float) -> str:
    """A number of bytes for people."""
    for unit in ('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'):
        if size < 1024 or unit == 'PiB':
            break
        size /= 1024
    return f'{size:.4g} {unit}'


def counts_text(counts: Dict[str, int]) -> str:
    """How many zones are in which condition."""
    return ', '.join(f'{counts[c.name]} {c.name}' for c in CONDITIONS
                     if c.name in counts)


def describe(disk: Disk, cell: Cell) -> str:
    """A cell in a line."""
    if cell.zones > 1:
        text = (f'zones {cell.first} to {cell.first + cell.zones - 1}: '
                f'{counts_text(cell.counts)}')
    else:
        name, = cell.counts
        text = f'zone {cell.first}: {name}'
    if cell.capacity:
        text += (f'; {size_text(cell.written)} of {size_text(cell.capacity)}'
                 ' written')
    if cell.zones == 1 and name in WITH_WRITE_POINTER:
        pointer = disk.start(cell.first) + cell.written
        text += f'; write pointer {pointer:#x}'
    return text
