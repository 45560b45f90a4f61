# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of qemu-zone-map."""

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import List, Optional

from .model import Disk, DiskChanged, Frame, View, ZoneMapError
from .page import page
from .recording import Recording, Writer
from .screen import FALLBACK, Navigator, Screen, print_once, shape_of
from .source import ImageSource, QmpSource, Source
from .svg import svg

DESCRIPTION = '''
Shows the zones of a zoned disk as a map: of an image file, of a node of a
virtual machine or a storage daemon that runs, or of a recording.  A cell has
two characters: the condition of its zones, and how full they are (. nothing,
0 to 9 in tenths, # all).  On a terminal, the map is drawn again and again;
keys zoom and scroll.  In a pipe, it is printed once.
'''


def parser() -> argparse.ArgumentParser:
    """What can be said."""
    result = argparse.ArgumentParser(prog='qemu-zone-map',
                                     description=DESCRIPTION)
    what = result.add_mutually_exclusive_group(required=True)
    what.add_argument('file', nargs='?', metavar='FILE',
                      help='an image file, which may be in use')
    what.add_argument('--qmp', nargs=2, metavar=('SOCKET', 'NODE'),
                      help='a node, by the QMP monitor at a socket: a path or '
                      'HOST:PORT')
    what.add_argument('--play', metavar='RECORDING',
                      help='what was recorded')
    result.add_argument('--record', metavar='OUT',
                        help='write what is seen to a file')
    result.add_argument('--for', metavar='SECONDS', type=positive,
                        dest='seconds', help='end after some time')
    result.add_argument('--interval', metavar='SECONDS', type=positive,
                        help='time between two looks (default: 0.25; 1 for an '
                        'image file)')
    result.add_argument('--html', metavar='OUT',
                        help='write a page with a time slider, and end')
    result.add_argument('--svg', metavar='OUT',
                        help='write a picture, and end')
    result.add_argument('--no-color', action='store_true',
                        help='use characters only, as with NO_COLOR in the '
                        'environment')
    result.add_argument('--qemu-img', metavar='PROGRAM', default='qemu-img',
                        help='the qemu-img that reads image files')
    return result


def positive(text: str) -> float:
    """A number of seconds."""
    value = float(text)
    if not 0.01 <= value <= 1e9:
        raise ValueError
    return value


def open_source(args: argparse.Namespace) -> Source:
    """What is to be shown."""
    if args.qmp:
        return QmpSource(*args.qmp)
    if args.play:
        return Recording(args.play)
    return ImageSource(args.file, args.qemu_img)


class Watch:
    """One run of the program: what it looks at, and how long."""

    def __init__(self, args: argparse.Namespace, source: Source) -> None:
        self.source = source
        self.writer: Optional[Writer] = None
        self.interval = args.interval or source.interval
        self.end: Optional[float] = None
        self.started = time.monotonic()
        if args.seconds:
            self.end = self.started + args.seconds
        if args.record:
            self.writer = Writer(args.record, source.disk())

    def record(self) -> None:
        """A look for the recording, if there is one."""
        if self.writer:
            self.writer.add(self.source.fetch(self.writer.view))

    def position(self) -> None:
        """A recording goes on with time."""
        if isinstance(self.source, Recording):
            self.source.seek(self.source.start + time.monotonic() -
                             self.started)

    def is_over(self) -> bool:
        """Whether the time that was given is over."""
        return self.end is not None and time.monotonic() >= self.end

    def close(self) -> None:
        """All is written."""
        if self.writer:
            self.writer.close()


def watch_screen(watch: Watch, screen: Screen) -> None:
    """Shows the map until a key ends it."""
    disk = watch.source.disk()
    navigator = Navigator(disk)
    while not watch.is_over():
        began = time.monotonic()
        watch.position()
        try:
            view = navigator.view(screen.shape())
            frame = watch.source.fetch(view)
            watch.record()
        except DiskChanged:
            if watch.writer:
                raise
            disk = watch.source.disk()
            navigator = Navigator(disk)
            continue
        screen.draw(screen.lines(disk, view, frame, navigator.selected))
        while True:
            key = screen.key(began + watch.interval - time.monotonic())
            if key == 'quit':
                return
            if key is None:
                break
            navigator.key(key, screen.shape())
            if navigator.view(screen.shape()) != view:
                break
            screen.draw(screen.lines(disk, view, frame, navigator.selected))


def watch_silently(watch: Watch) -> None:
    """Records until the time is over, or somebody interrupts it."""
    ends = {signal.SIGTERM}
    # What a script has started in the background does not hear SIGINT.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        ends.add(signal.SIGINT)
    # Not amid a look: its answer would be taken for that to the next one.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    while not watch.is_over():
        began = time.monotonic()
        watch.record()
        rest = max(0, began + watch.interval - time.monotonic())
        if signal.sigtimedwait(ends, rest):
            break
    # What has changed since
    watch.record()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)


def print_map(source: Source, colour: bool) -> None:
    """The map as text."""
    if isinstance(source, Recording):
        source.seek(source.end)
    disk = source.disk()
    shape = shape_of(shutil.get_terminal_size(FALLBACK))
    view = View(0, disk.zones, shape.cells)
    print_once(disk, view, source.fetch(view), colour, shape.columns)


def write(path: str, text: str) -> None:
    """A file."""
    try:
        Path(path).write_text(text, encoding='utf-8')
    except OSError as error:
        raise ZoneMapError(f"'{path}': {error.strerror}") from error


def recorded(source: Source) -> Recording:
    """A recording; of something else, one of its only moment."""
    if isinstance(source, Recording):
        return source
    with TemporaryDirectory() as folder:
        path = os.path.join(folder, 'recording')
        writer = Writer(path, source.disk())
        writer.add(source.fetch(writer.view))
        writer.close()
        return Recording(path)


def export(args: argparse.Namespace, source: Source) -> None:
    """Pages and pictures."""
    recording = recorded(source)
    disk: Disk = recording.disk()
    if args.html:
        write(args.html, page(recording))
    if args.svg:
        frames: List[Frame] = list(recording.frames())
        write(args.svg, svg(disk, frames))


def show(args: argparse.Namespace, source: Source) -> None:
    """What is to be done."""
    if args.html or args.svg:
        export(args, source)
        return
    terminal = sys.stdout.isatty()
    dumb = os.environ.get('TERM', 'dumb') in ('dumb', 'unknown', '')
    colour = (terminal and not dumb and not args.no_color and
              not os.environ.get('NO_COLOR'))
    watch = Watch(args, source)
    try:
        if terminal:
            with Screen(colour, dumb) as screen:
                watch_screen(watch, screen)
            return
        if watch.writer:
            watch_silently(watch)
        print_map(source, colour)
    finally:
        watch.close()


def main() -> int:
    """Runs the program; returns its exit status."""
    args = parser().parse_args()
    if args.record and (args.play or args.html or args.svg):
        parser().error('--record is for what runs')
    source: Optional[Source] = None
    try:
        source = open_source(args)
        show(args, source)
    except ZoneMapError as error:
        print(f'qemu-zone-map: {error}', file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who read it has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    finally:
        if source:
            source.close()
    return 0
