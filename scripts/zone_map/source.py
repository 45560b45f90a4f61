# SPDX-License-Identifier: GPL-2.0-or-later
"""Where zones come from: an image file, or a node of a QEMU that runs."""

import json
import subprocess
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from .model import (
    Cell, Disk, DiskChanged, Frame, View, ZoneMapError, boundaries)
from .monitor import Command, Monitor, MonitorError

# Ranges of one reply
MAX_RANGES = 256

# What is counted, in the order in which it is shown
COUNTERS = ('opens', 'closes', 'finishes', 'resets', 'appends', 'refused')

Reply = Dict[str, Any]


class Source:
    """Something that has zones."""

    # Seconds between two looks that make sense
    interval = 0.25

    def disk(self) -> Disk:
        """The disk; of what was fetched last, if something was."""
        raise NotImplementedError

    def fetch(self, view: View) -> Frame:
        """What is to be shown, as it is now."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing more will be fetched."""


class ImageSource(Source):
    """An image file, which may be in use by others."""

    interval = 1.0

    def __init__(self, path: str, program: str = 'qemu-img') -> None:
        self.path = path
        self.program = program
        self._started = time.monotonic()
        self._disk: Optional[Disk] = None

    def _run(self, *words: str) -> Any:
        command = [self.program, *words, '-U', '--output=json', self.path]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True,
                                  check=False)
        except OSError as error:
            raise ZoneMapError(f'{self.program}: {error.strerror}') from error
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise ZoneMapError(lines[-1] if lines else
                               f'{self.program} has failed')
        return json.loads(done.stdout)

    def _runs(self) -> List[Reply]:
        runs = self._run('zones')
        assert isinstance(runs, list)
        if self._disk is None:
            self._set_disk(runs)
        return runs

    def _set_disk(self, runs: List[Reply]) -> None:
        last = runs[-1]
        info = self._run('info')
        details = info.get('format-specific', {}).get('data', {})
        self._disk = Disk(
            self.path, last['start'] + last['count'] * last['length'],
            runs[0]['length'], sum(run['count'] for run in runs),
            details.get('max-open-zones', 0),
            details.get('max-active-zones', 0))

    def disk(self) -> Disk:
        if self._disk is None:
            self._runs()
        assert self._disk
        return self._disk

    def fetch(self, view: View) -> Frame:
        runs = self._runs()
        counts: Dict[str, int] = {}
        for run in runs:
            counts[run['condition']] = (counts.get(run['condition'], 0) +
                                        run['count'])
        nr_open = (counts.get('implicitly-open', 0) +
                   counts.get('explicitly-open', 0))
        return Frame(time.monotonic() - self._started,
                     list(cells_of_runs(runs, view)), nr_open,
                     nr_open + counts.get('closed', 0), {})


def cells_of_runs(runs: Sequence[Reply], view: View) -> Iterator[Cell]:
    """The cells of a view, of zones in runs that are alike."""
    bounds = boundaries(view)
    at = first = 0              # a run, and its first zone
    for start, end in zip(bounds, bounds[1:]):
        counts: Dict[str, int] = {}
        capacity = written = 0
        zone = start
        while zone < end:
            while first + runs[at]['count'] <= zone:
                first += runs[at]['count']
                at += 1
            run = runs[at]
            some = min(end, first + run['count']) - zone
            name = run['condition']
            counts[name] = counts.get(name, 0) + some
            if 'written' in run:
                capacity += some * run['capacity']
                written += some * run['written']
            zone += some
        yield Cell(start, end - start, counts, capacity, written)


class QmpSource(Source):
    """
    A node of a virtual machine or a storage daemon.  After the first look at
    a view, only what may have changed is asked for.
    """
    # pylint: disable=too-many-instance-attributes

    def __init__(self, address: str, node: str) -> None:
        self.node = node
        self._started = time.monotonic()
        self._view: Optional[View] = None
        self._since: Optional[int] = None
        self._starts: List[int] = []            # of cells, as zones
        self._cells: Dict[int, Cell] = {}       # by the first zone
        self._disk: Optional[Disk] = None
        self._has_counters = True
        self._counters: Dict[str, int] = {}
        try:
            self._monitor = Monitor(address)
        except MonitorError as error:
            raise ZoneMapError(f"monitor '{address}': {error}") from error

    def close(self) -> None:
        self._monitor.close()

    def _query(self, queries: List[Dict[str, Any]],
               counters: bool = False) -> List[Reply]:
        """Summaries; counters are remembered, if there are any."""
        commands: List[Command] = [
            ('query-block-zone-summary', {'node-name': self.node, **query})
            for query in queries]
        counters = counters and self._has_counters
        if counters:
            commands.append(('query-block-zone-stats',
                             {'node-name': self.node}))
        try:
            answers = self._monitor.run(commands)
        except MonitorError as error:
            raise ZoneMapError(f'the monitor has gone: {error}') from error
        if counters:
            self._take_counters(answers.pop())
        for answer in answers:
            if 'error' in answer:
                raise ZoneMapError(answer['error']['desc'])
        self._set_disk(answers[-1]['return'])
        return [answer['return'] for answer in answers]

    def _set_disk(self, reply: Reply) -> None:
        disk = Disk(self.node, reply['size'], reply['zone-length'],
                    reply['zones'], reply['max-open'], reply['max-active'])
        if self._disk and disk.size != self._disk.size:
            self._view = None
        self._disk = disk

    def disk(self) -> Disk:
        if self._disk is None:
            self._query([{'length': 1}])
        assert self._disk
        return self._disk

    def _take_counters(self, answer: Reply) -> None:
        self._has_counters = 'return' in answer
        counters = answer.get('return', {})
        assert isinstance(counters, dict)
        self._counters = {
            name: sum(counters[name].values()) if name == 'refused'
            else counters[name] for name in COUNTERS if name in counters}

    def _take(self, reply: Reply, zone_length: int) -> None:
        """Remembers the ranges of a reply."""
        for part in reply['ranges']:
            first = part['start'] // zone_length
            self._cells[first] = Cell(
                first, part['zones'],
                {c['condition']: c['count'] for c in part['conditions']},
                part['capacity'], part['written'])

    def _windows(self, view: View) -> Iterator[Tuple[int, int, int]]:
        """Offset, length and ranges of each query for a view."""
        bounds = boundaries(view)
        disk = self.disk()
        for i in range(0, len(bounds) - 1, MAX_RANGES):
            last = min(i + MAX_RANGES, len(bounds) - 1)
            offset = disk.start(bounds[i])
            yield offset, disk.start(bounds[last]) - offset, last - i

    def fetch(self, view: View) -> Frame:
        size = self.disk().size
        if view != self._view:
            self._cells = {}
            self._since = None
            self._view = view
            self._starts = boundaries(view)[:-1]
        try:
            return self._fetch(view)
        except ZoneMapError as error:
            self._query([{'length': 1}])
            if self._disk and self._disk.size != size:
                raise DiskChanged from error
            raise

    def _fetch(self, view: View) -> Frame:
        since = {} if self._since is None else {'since': self._since}
        replies = self._query(
            [{'offset': offset, 'length': length, 'ranges': ranges, **since}
             for offset, length, ranges in self._windows(view)],
            counters=True)
        if not self._view:
            raise DiskChanged
        for reply in replies:
            self._take(reply, reply['zone-length'])
        # What changes while the others are asked for is in the next ones.
        self._since = replies[0].get('generation')
        return Frame(time.monotonic() - self._started,
                     [self._cells[start] for start in self._starts],
                     replies[0].get('open'), replies[0].get('active'),
                     self._counters)
