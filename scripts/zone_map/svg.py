# SPDX-License-Identifier: GPL-2.0-or-later
"""The map as a picture: the zones at the end and, of a run, how they came."""

from html import escape
from typing import List, Sequence, Tuple

from .model import CONDITIONS, Cell, Disk, Frame, describe, merge, size_text

WIDTH = 800
MARGIN = 12
LINE = 18

# Of the history: at most so many moments and zones (in cells) side by side
COLUMNS = 194
ROWS = 128

STYLE = ('<style>text{font:12px sans-serif;fill:#24292f}'
         '.t{font-weight:bold;font-size:14px}.s{fill:#57606a}</style>')


def colour(cell: Cell) -> str:
    """What a cell looks like where there is one colour for all of it."""
    if cell.shown.name == 'full' or not cell.capacity:
        return cell.shown.colour
    return mix(cell.shown.colour, 1.0 if cell.shown.name == 'empty'
               else 0.35 + 0.65 * cell.fill)


def mix(rgb: str, part: float) -> str:
    """A colour, and the rest of it white."""
    values = (int(rgb[i:i + 2], 16) for i in (1, 3, 5))
    return '#' + ''.join(f'{round(255 - (255 - v) * part):02x}'
                         for v in values)


class Picture:
    """An SVG file."""

    def __init__(self) -> None:
        self.parts: List[str] = []
        self.y = MARGIN

    def text(self, text: str, style: str = '', x: int = MARGIN) -> None:
        """A line of text."""
        self.y += LINE
        self.parts.append(f'<text x="{x}" y="{self.y - 5}"'
                          f'{style and f" class={chr(34)}{style}{chr(34)}"}>'
                          f'{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, fill: str,
            title: str = '') -> None:
        """A rectangle."""
        shape = (f'<rect x="{x:g}" y="{y:g}" width="{width:g}" '
                 f'height="{height:g}" fill="{fill}"')
        self.parts.append(f'{shape}><title>{escape(title)}</title></rect>'
                          if title else f'{shape}/>')

    def legend(self) -> None:
        """Which colour is which condition."""
        x = MARGIN
        self.y += 6
        for condition in reversed(CONDITIONS):
            self.box(x, self.y, 11, 11, condition.colour)
            self.parts.append(f'<text x="{x + 15}" y="{self.y + 10}">'
                              f'{condition.name}</text>')
            x += 30 + round(6.2 * len(condition.name))
        self.y += LINE

    def svg(self) -> str:
        """The file."""
        height = self.y + MARGIN
        return ('<svg xmlns="http://www.w3.org/2000/svg" '
                f'width="{WIDTH}" height="{height}" '
                f'viewBox="0 0 {WIDTH} {height}">{STYLE}'
                f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' +
                '\n'.join(self.parts) + '\n</svg>\n')


def condense(cells: Sequence[Cell], count: int) -> List[Cell]:
    """The same zones in so many cells at most."""
    n = len(cells)
    count = min(count, n)
    return [merge(cells[i * n // count:(i + 1) * n // count])
            for i in range(count)]


def draw_map(picture: Picture, disk: Disk, cells: Sequence[Cell]) -> None:
    """A box for each cell, filled from below."""
    width = WIDTH - 2 * MARGIN
    columns = max(c for c in (16, 32, 64, 97)
                  if c == 16 or len(cells) > c * c // 8)
    step = width / min(columns, max(len(cells), 1))
    step = min(step, 48.0)
    side = step - (2 if step > 12 else 1)
    picture.y += 6
    for i, cell in enumerate(cells):
        x = MARGIN + i % columns * step
        y = picture.y + i // columns * step
        shown = cell.shown
        picture.box(x, y, side, side, mix(shown.colour, 0.3)
                    if shown.name not in ('empty', 'not-write-pointer')
                    else shown.colour, describe(disk, cell))
        if cell.capacity and cell.written:
            height = max(side * cell.fill, 1)
            full = CONDITIONS[5] if shown.name == 'empty' else shown
            picture.box(x, y + side - height, side, height, full.colour)
    picture.y += round(-(-len(cells) // columns) * step) + 4


def draw_history(picture: Picture,
                 moments: Sequence[Tuple[float, Sequence[Cell]]]) -> None:
    """Time goes to the right, zones go down."""
    start, end = moments[0][0], moments[-1][0]
    columns: List[List[str]] = []
    at = 0
    for i in range(COLUMNS):
        time = start + (end - start) * i / (COLUMNS - 1)
        while at + 1 < len(moments) and moments[at + 1][0] <= time:
            at += 1
        columns.append([colour(cell)
                        for cell in condense(moments[at][1], ROWS)])
    rows = len(columns[0])
    height = max(384 // rows, 3)
    width = (WIDTH - 2 * MARGIN) / COLUMNS
    picture.y += 6
    for row in range(rows):
        first = 0
        for i in range(1, COLUMNS + 1):
            if i == COLUMNS or columns[i][row] != columns[first][row]:
                picture.box(MARGIN + first * width, picture.y + row * height,
                            (i - first) * width, height, columns[first][row])
                first = i
    picture.y += rows * height
    picture.parts.append(f'<text x="{MARGIN}" y="{picture.y + 14}" class="s">'
                         f'0 s</text><text x="{WIDTH - MARGIN}" '
                         f'y="{picture.y + 14}" class="s" '
                         f'text-anchor="end">{end - start:.4g} s</text>')
    picture.y += LINE


def svg(disk: Disk, frames: Sequence[Frame]) -> str:
    """A picture of one moment, or of a run and its last moment."""
    picture = Picture()
    last = frames[-1]
    total = merge(last.cells)
    picture.text(f'{disk.name}: {disk.zones} zones of '
                 f'{size_text(disk.zone_length)}', 't')
    picture.text(f'{size_text(total.written)} of {size_text(total.capacity)} '
                 'written to sequential zones', 's')
    draw_map(picture, disk, condense(last.cells, 4096))
    if len(frames) > 1 and last.time > frames[0].time:
        picture.text('How they were filled: time goes to the right, each '
                     'line is a zone' + ('' if len(last.cells) <= ROWS and
                                         len(last.cells) == disk.zones
                                         else ' or some in a row'), 's')
        draw_history(picture, [(frame.time, frame.cells)
                               for frame in frames])
    picture.legend()
    return picture.svg()
