# SPDX-License-Identifier: GPL-2.0-or-later
"""The map on a terminal, or as text."""

import os
import select
import shutil
import signal
import sys
import termios
import tty
from types import FrameType, TracebackType
from typing import Any, List, NamedTuple, Optional, Type

from .model import (
    CONDITIONS, Cell, Disk, Frame, View, counts_text, describe, merge,
    size_text)

# Lines that are not of the map: above it and below
HEAD = 3
FOOT = 4

# Columns in front of the map, for the number of a zone
LABEL = 9

# How many columns a cell has: its condition, and how full it is
CELL = 2

FALLBACK = os.terminal_size((80, 24))

KEYS = {
    b'\x1b[A': 'up', b'\x1b[B': 'down', b'\x1b[C': 'right',
    b'\x1b[D': 'left', b'\x1bOA': 'up', b'\x1bOB': 'down',
    b'\x1bOC': 'right', b'\x1bOD': 'left', b'\x1b[5~': 'page-up',
    b'\x1b[6~': 'page-down', b'k': 'up', b'j': 'down', b'l': 'right',
    b'h': 'left', b'+': 'in', b'=': 'in', b'-': 'out', b'0': 'all',
    b'q': 'quit', b'Q': 'quit', b'\x03': 'quit',
    b'b': 'page-up', b'f': 'page-down',
}
HELP = 'arrows: select   + -: zoom   page up/down: scroll   0: all   q: quit'


class Shape(NamedTuple):
    """Cells in a row, and rows."""
    columns: int
    rows: int

    @property
    def cells(self) -> int:
        """How many cells there is room for."""
        return self.columns * self.rows


def shape_of(size: os.terminal_size) -> Shape:
    """The map that a terminal has room for."""
    columns = (size.columns - LABEL - 1) // CELL
    if columns >= 16:
        columns -= columns % 8
    # The last line stays empty: what is written there can scroll.
    return Shape(max(columns, 1), max(size.lines - HEAD - FOOT - 1, 1))


def fill_letter(cell: Cell) -> str:
    """How full a cell is: nothing, in tenths, all."""
    if not cell.capacity:
        return cell.shown.letter
    if not cell.written:
        return '.'
    if cell.written >= cell.capacity:
        return '#'
    return str(int(10 * cell.fill))


def cell_text(cell: Cell) -> str:
    """A cell in two characters."""
    return cell.shown.letter + fill_letter(cell)


def legend() -> str:
    """What the letters are."""
    return '  '.join(f'{c.letter} {c.name}' for c in reversed(CONDITIONS))


def _limit(count: Optional[int], limit: int) -> str:
    return f"{'?' if count is None else count}/{limit or 'no limit'}"


def head_lines(disk: Disk, view: View, frame: Frame) -> List[str]:
    """What is above the map."""
    total = merge(frame.cells)
    shown = ''
    if total.zones < disk.zones:
        shown = f', of which {view.first} to {view.first + view.zones - 1}'
    counters = '  '.join(f'{name} {value}' for name, value in
                         frame.counters.items())
    lines = [f'{disk.name}: {disk.zones} zones of '
             f'{size_text(disk.zone_length)}{shown}',
             f'{counts_text(total.counts)}; {size_text(total.written)} of '
             f'{size_text(total.capacity)} written',
             f'open {_limit(frame.open, disk.max_open)}  '
             f'active {_limit(frame.active, disk.max_active)}']
    if counters:
        lines[2] += '  ' + counters
    return lines


class Canvas:
    """Draws lines in which cells can have colours."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def cell(self, cell: Cell, selected: bool = False,
             moved: bool = False) -> str:
        """A cell; one that is selected or has moved stands out."""
        text = cell_text(cell)
        if not self.colour:
            return f'\x1b[7m{text}\x1b[0m' if selected else text
        style = [str(cell.shown.background), '30']
        if moved:
            style.append('1;4')
        if selected:
            style = ['7']
        return f"\x1b[{';'.join(style)}m{text}\x1b[0m"

    def plain(self, cell: Cell) -> str:
        """The same where nothing but colours can be had."""
        return self.cell(cell) if self.colour else cell_text(cell)


def map_rows(cells: List[Cell], columns: int) -> List[List[Cell]]:
    """The cells, a row each."""
    return [cells[i:i + columns] for i in range(0, len(cells), columns)]


def print_once(disk: Disk, view: View, frame: Frame, colour: bool,
               columns: int) -> None:
    """The map as text."""
    canvas = Canvas(colour)
    print('\n'.join(head_lines(disk, view, frame)))
    for row in map_rows(frame.cells, columns):
        print(f'{row[0].first:>{LABEL - 1}} ' +
              ''.join(canvas.plain(cell) for cell in row))
    print(legend())


class Navigator:
    """What is looked at: a part of the disk, and a cell of it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.first = 0
        self.zones = disk.zones
        self.selected = 0           # a zone

    def view(self, shape: Shape) -> View:
        """What to fetch."""
        return View(self.first, self.zones, shape.cells)

    def _move(self, zones: int) -> None:
        self.selected = max(0, min(self.selected + zones,
                                   self.disk.zones - 1))
        if self.selected < self.first:
            self.first = self.selected
        elif self.selected >= self.first + self.zones:
            self.first = self.selected - self.zones + 1

    def _scroll(self, zones: int) -> None:
        self.first = max(0, min(self.first + zones,
                                self.disk.zones - self.zones))
        self._move(zones)

    def _zoom(self, zones: int) -> None:
        self.zones = max(1, min(zones, self.disk.zones))
        self.first = max(0, min(self.selected - self.zones // 2,
                                self.disk.zones - self.zones))

    def key(self, key: str, shape: Shape) -> None:
        """What a key does."""
        cell = max(1, -(-self.zones // shape.cells))
        steps = {'left': -cell, 'right': cell, 'up': -cell * shape.columns,
                 'down': cell * shape.columns}
        if key in steps:
            self._move(steps[key])
        elif key == 'page-up':
            self._scroll(-self.zones)
        elif key == 'page-down':
            self._scroll(self.zones)
        elif key == 'in':
            # A zone for each cell is as near as it gets.
            self._zoom(max(self.zones // 2, min(shape.cells, self.zones)))
        elif key == 'out':
            self._zoom(self.zones * 2)
        elif key == 'all':
            self._zoom(self.disk.zones)


class Screen:
    """A terminal that shows a map, and has keys."""
    # pylint: disable=too-many-instance-attributes

    def __init__(self, colour: bool, dumb: bool = False) -> None:
        self.dumb = dumb
        self.canvas = Canvas(colour)
        self._old: List[str] = []
        self._cells: List[Cell] = []            # of the last lines
        self._rows: List[List[Cell]] = []       # ... in which none was marked
        self._texts: List[str] = []
        self._modes: Optional[List[Any]] = None
        self._stopped = False
        self._typed = b''

    def __enter__(self) -> 'Screen':
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, self._stop)
        if sys.stdin.isatty():
            self._modes = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        if not self.dumb:
            # The other screen, without a cursor
            self._write('\x1b[?1049h\x1b[?25l\x1b[2J')
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        if not self.dumb:
            self._write('\x1b[?25h\x1b[?1049l')
        if self._modes is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._modes)

    def _stop(self, _signal: int, _frame: Optional[FrameType]) -> None:
        self._stopped = True

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def shape(self) -> Shape:
        """The room that there is."""
        return shape_of(shutil.get_terminal_size(FALLBACK))

    def _map_lines(self, cells: List[Cell], columns: int,
                   chosen: List[Cell]) -> List[str]:
        """
        The map itself. Who watches does so all the time: a row that is as it
        was is not made again.
        """
        moved = {new.first for old, new in zip(self._cells, cells)
                 if old is not new and old.first == new.first and
                 old.written != new.written}
        marked = moved.union(cell.first for cell in chosen)
        rows, texts = map_rows(cells, columns), []
        for i, row in enumerate(rows):
            plain = marked.isdisjoint([cell.first for cell in row])
            if plain and self._rows[i:i + 1] == [row]:
                texts.append(self._texts[i])
                continue
            texts.append(f'{row[0].first:>{LABEL - 1}} ' + ''.join(
                self.canvas.cell(cell, cell in chosen, cell.first in moved)
                for cell in row))
            if not plain:
                rows[i] = []        # no row is like it
        self._cells, self._rows, self._texts = cells, rows, texts
        return texts

    def lines(self, disk: Disk, view: View, frame: Frame, selected: int,
              note: str = '') -> List[str]:
        """What is to be on the screen."""
        size = shutil.get_terminal_size(FALLBACK)
        shape = shape_of(size)
        width = size.columns - 1
        chosen = [cell for cell in frame.cells
                  if cell.first <= selected < cell.first + cell.zones]
        lines = [line[:width] for line in head_lines(disk, view, frame)]
        lines += self._map_lines(frame.cells, shape.columns,
                                 [] if self.dumb else chosen)
        lines += [''] * (HEAD + shape.rows - len(lines))
        text = legend()
        split = text.rfind('  ', 0, width) if len(text) > width else len(text)
        lines += [text[:split], text[split:].strip()[:width],
                  describe(disk, chosen[0])[:width] if chosen else '',
                  (note or HELP)[:width]]
        return lines[:max(size.lines - 1, 1)]

    def draw(self, lines: List[str]) -> None:
        """Shows lines; what is there already is not written again."""
        if self.dumb:
            if lines != self._old:
                self._write('\n'.join(line.rstrip() for line in lines) +
                            '\n\n')
            self._old = lines
            return
        out = []
        if len(lines) != len(self._old):
            out.append('\x1b[2J')
            self._old = [''] * len(lines)
        for i, line in enumerate(lines):
            if line != self._old[i]:
                out.append(f'\x1b[{i + 1};1H{line}\x1b[0m\x1b[K')
        self._old = lines
        self._write(''.join(out))

    def key(self, seconds: float) -> Optional[str]:
        """Waits for a key, at most so long: what it means, or None."""
        if self._stopped:
            return 'quit'
        if not self._typed:
            try:
                ready, _, _ = select.select([sys.stdin], [], [],
                                            max(seconds, 0))
            except InterruptedError:
                return None
            if not ready:
                return 'quit' if self._stopped else None
            self._typed = os.read(sys.stdin.fileno(), 64)
            if not self._typed:
                return 'quit'
        for length in (4, 3, 1):
            name = KEYS.get(self._typed[:length])
            if name or length == 1:
                self._typed = self._typed[length:]
                return name or ''
        return ''
