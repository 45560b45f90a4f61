# SPDX-License-Identifier: GPL-2.0-or-later
"""
A run in a file: a line of JSON for each moment, with what has changed since
the one before.

The first line has the version and the disk:

    {"qemu-zone-map": 1, "name": "disk", "size": 1073741824,
     "zone-length": 67108864, "zones": 16, "max-open": 0, "max-active": 0,
     "cells": 16}

The zones are divided evenly into cells: cell I of N begins with zone
I * zones / N, rounded down.  Each further line is a moment:

    {"t": 0.25, "open": 1, "active": 1, "counters": {"resets": 2},
     "cells": [[3, 1, {"implicitly-open": 1}, 67108864, 4096], ...]}

"t" is in seconds and does not go back.  "open" and "active" are null if they
are not known.  An entry of "cells" is: the first cell, how many cells in a row
are alike, zones of each by their condition, capacity and written bytes of
each.  The first moment has all cells.
"""

import bisect
import json
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Optional

from .model import (
    CONDITION, Cell, Disk, Frame, View, ZoneMapError, boundaries, merge)
from .source import Source

VERSION = 1

# Cells of a recording, unless there are less zones
MAX_CELLS = 4096

# More than any disk has
LIMIT = 1 << 63


class Change(NamedTuple):
    """Cells in a row that are alike, from a moment on."""
    first: int
    cells: int
    counts: Dict[str, int]
    capacity: int
    written: int


class Moment(NamedTuple):
    """What a line says."""
    time: float
    open: Optional[int]
    active: Optional[int]
    counters: Dict[str, int]
    changes: List[Change]


class Writer:
    """Makes a recording."""

    def __init__(self, path: str, disk: Disk) -> None:
        self.view = View(0, disk.zones, min(disk.zones, MAX_CELLS))
        self._path = path
        self._cells: List[Optional[Cell]] = [None] * self.view.cells
        self._last = ''
        try:
            # pylint: disable=consider-using-with
            self._file: IO[str] = open(path, 'w', encoding='utf-8')
        except OSError as error:
            raise ZoneMapError(f"'{path}': {error.strerror}") from error
        self._write({'qemu-zone-map': VERSION, 'name': disk.name,
                     'size': disk.size, 'zone-length': disk.zone_length,
                     'zones': disk.zones, 'max-open': disk.max_open,
                     'max-active': disk.max_active,
                     'cells': self.view.cells})

    def _write(self, value: Dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(value, separators=(',', ':')) + '\n')
            self._file.flush()
        except OSError as error:
            self.close()
            raise ZoneMapError(f"'{self._path}': {error.strerror}") from error

    def add(self, frame: Frame) -> None:
        """A moment; nothing is written if nothing has changed."""
        entries: List[List[Any]] = []
        for i, cell in enumerate(frame.cells):
            if cell == self._cells[i]:
                continue
            self._cells[i] = cell
            what = [cell.counts, cell.capacity, cell.written]
            if entries and entries[-1][0] + entries[-1][1] == i and \
               entries[-1][2:] == what:
                entries[-1][1] += 1
            else:
                entries.append([i, 1, *what])
        rest = {'open': frame.open, 'active': frame.active,
                'counters': frame.counters}
        if entries or json.dumps(rest) != self._last:
            self._last = json.dumps(rest)
            self._write({'t': round(frame.time, 3), **rest,
                         'cells': entries})

    def close(self) -> None:
        """All is in the file."""
        try:
            self._file.close()
        except OSError:
            # It was said when it was to be written.
            pass


def _number(value: Any, what: str, limit: int = LIMIT) -> int:
    """A number below a limit, in what was read."""
    if not isinstance(value, int) or isinstance(value, bool) or \
       not 0 <= value < limit:
        raise ValueError(f'{what} is {json.dumps(value)[:40]}')
    return value


def _object(line: str) -> Dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError('it is no JSON' if line.endswith('\n') else
                         'it ends in the middle') from error
    if not isinstance(value, dict):
        raise ValueError('it is no object')
    return value


def _field(value: Dict[str, Any], name: str) -> Any:
    if name not in value:
        raise ValueError(f'there is no "{name}"')
    return value[name]


def _numbers(value: Any, what: str) -> Dict[str, int]:
    if not isinstance(value, dict):
        raise ValueError(f'{what} is no object')
    return {name: _number(item, f'"{name}"') for name, item in value.items()}


class Recording(Source):
    """What is in a recording."""

    def __init__(self, path: str) -> None:
        self.moments: List[Moment] = []
        self.lines: List[str] = []
        self.nr_cells = 0
        self.bounds: List[int] = []
        self._disk = Disk('', 0, 0, 0)
        self._cells: List[Cell] = []
        self._at = -1               # a moment
        try:
            with open(path, 'r', encoding='utf-8') as file:
                self._read(path, file)
        except OSError as error:
            raise ZoneMapError(f"'{path}': {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ZoneMapError(f"'{path}' is no recording of qemu-zone-map"
                               ) from error

    def _read(self, path: str, file: IO[str]) -> None:
        number = 1
        try:
            line = file.readline()
            self._read_head(path, line)
            for number, line in enumerate(file, 2):
                self.moments.append(self._moment(_object(line)))
                self.lines.append(line)
            number += 1
            if not self.moments:
                raise ValueError('there is no such line')
        except ValueError as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            raise ZoneMapError(f"'{path}' is damaged in line {number}: "
                               f'{error}') from error

    def _read_head(self, path: str, line: str) -> None:
        try:
            head = _object(line)
            version = _field(head, 'qemu-zone-map')
        except ValueError as error:
            raise ZoneMapError(f"'{path}' is no recording of qemu-zone-map"
                               ) from error
        if version != VERSION:
            raise ZoneMapError(f"'{path}' is of version "
                               f'{json.dumps(version)[:40]}, and this program '
                               f'reads version {VERSION}')
        name = _field(head, 'name')
        if not isinstance(name, str):
            raise ValueError('"name" is no string')
        values = {key: _number(_field(head, key), f'"{key}"') for key in
                  ('size', 'zone-length', 'zones', 'max-open', 'max-active')}
        self._disk = Disk(name, *values.values())
        if not (values['zone-length'] and values['zones'] and
                values['zones'] < 1 << 32 and
                -(-values['size'] // values['zone-length']) ==
                values['zones']):
            raise ValueError('the disk has no such size')
        self.nr_cells = _number(_field(head, 'cells'), '"cells"',
                                min(values['zones'], 1 << 20) + 1)
        if not self.nr_cells:
            raise ValueError('there are no cells')
        self.bounds = boundaries(View(0, self._disk.zones, self.nr_cells))

    def _moment(self, value: Dict[str, Any]) -> Moment:
        time = _field(value, 't')
        last = self.moments[-1].time if self.moments else 0.0
        if not isinstance(time, (int, float)) or isinstance(time, bool) or \
           not last <= time < 1e12:
            raise ValueError(f'"t" is {json.dumps(time)[:40]}, after {last}')
        known = {key: _field(value, key) for key in ('open', 'active')}
        for key, count in known.items():
            if count is not None:
                _number(count, f'"{key}"', self._disk.zones + 1)
        entries = _field(value, 'cells')
        if not isinstance(entries, list):
            raise ValueError('"cells" is no list')
        changes: List[Change] = []
        next_cell = 0
        for entry in entries:
            changes.append(self._change(entry, next_cell))
            next_cell = changes[-1].first + changes[-1].cells
        if not self.moments and self.nr_cells != sum(change.cells
                                                     for change in changes):
            raise ValueError('the first moment does not have all cells')
        return Moment(float(time), known['open'], known['active'],
                      _numbers(_field(value, 'counters'), '"counters"'),
                      changes)

    def _change(self, entry: Any, next_cell: int) -> Change:
        if not isinstance(entry, list) or len(entry) != 5:
            raise ValueError('an entry of "cells" is no list of five')
        first = _number(entry[0], 'a cell', self.nr_cells)
        if first < next_cell:
            raise ValueError(f'cell {first} comes after cell {next_cell - 1}')
        cells = _number(entry[1], 'a number of cells',
                        self.nr_cells - first + 1)
        counts = _numbers(entry[2], 'what a cell has')
        for name, count in counts.items():
            if name not in CONDITION or not count:
                raise ValueError(f'{count} zones are {json.dumps(name)[:40]}')
        zones = {self.bounds[i + 1] - self.bounds[i]
                 for i in range(first, first + cells)}
        if zones != {sum(counts.values())}:
            raise ValueError(f'cell {first} has other zones')
        capacity = _number(entry[3], 'a capacity')
        return Change(first, cells, counts, capacity,
                      _number(entry[4], 'what was written', capacity + 1))

    def disk(self) -> Disk:
        return self._disk

    @property
    def start(self) -> float:
        """When it begins."""
        return self.moments[0].time

    @property
    def end(self) -> float:
        """When it ends."""
        return self.moments[-1].time

    def seek(self, time: float) -> None:
        """Goes to the last moment that is not later than a time."""
        times = [moment.time for moment in self.moments]
        self.go_to(max(bisect.bisect_right(times, time) - 1, 0))

    def go_to(self, index: int) -> None:
        """Goes to a moment by its number."""
        if index < self._at:
            self._at = -1
        while self._at < index:
            self._at += 1
            self._apply(self.moments[self._at])

    def _apply(self, moment: Moment) -> None:
        if self._at == 0:
            self._cells = [Cell(first, end - first, {}, 0, 0) for first, end
                           in zip(self.bounds, self.bounds[1:])]
        for change in moment.changes:
            for i in range(change.first, change.first + change.cells):
                self._cells[i] = self._cells[i]._replace(
                    counts=change.counts, capacity=change.capacity,
                    written=change.written)

    def frame(self) -> Frame:
        """All cells as they are at the moment."""
        if self._at < 0:
            self.seek(self.start)
        moment = self.moments[self._at]
        return Frame(moment.time, list(self._cells), moment.open,
                     moment.active, moment.counters)

    def fetch(self, view: View) -> Frame:
        frame = self.frame()
        inside = [cell for cell in frame.cells
                  if cell.first < view.first + view.zones and
                  cell.first + cell.zones > view.first]
        bounds = boundaries(View(0, len(inside), view.cells))
        return frame._replace(cells=[merge(inside[a:b]) for a, b in
                                     zip(bounds, bounds[1:])])

    def frames(self) -> Iterator[Frame]:
        """All moments."""
        for index in range(len(self.moments)):
            self.go_to(index)
            yield self.frame()
