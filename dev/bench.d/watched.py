# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a storage daemon takes for a map of a million zones."""

import multiprocessing
import subprocess
import time
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Dict, Iterator, List

from measure import BIN, Image, run
from qmp import Qmp

ZONES = 1000000
ZONE = 64 << 10
USED = 1000
# A map has a cell for some zones in a row, and asks for so many at once.
CELLS = 1024
RANGES = 256


def disk(folder: Path) -> Image:
    """It has a million zones, of which some are in use."""
    image = Image('watched', 'zoned', ZONES * ZONE, [f'zone_size={ZONE}B'],
                  folder)
    commands: List[str] = []
    for i in range(0, ZONES, ZONES // USED):
        commands += ['-c', f'write -q {i * ZONE} 4k']
    run(BIN / 'qemu-io', '-f', 'zoned', *commands, image.path)
    return image


@contextmanager
def daemon_of(image: Image, folder: Path) -> Iterator[None]:
    """A storage daemon with the image, a monitor and an export of it."""
    with subprocess.Popen(
            [BIN / 'qemu-storage-daemon', '--chardev',
             f'socket,path={folder / "qmp"},id=qmp,server=on,wait=off',
             '--monitor', 'chardev=qmp', '--blockdev',
             f'node-name=disk,{image.node()}', '--nbd-server',
             f'addr.type=unix,addr.path={folder / "nbd"}', '--export',
             'nbd,id=export,node-name=disk']) as process:
        yield
        process.terminate()


def look(qmp: Qmp) -> float:
    """Seconds that QMP takes for all cells of a map."""
    began = time.monotonic()
    part = ZONES * ZONE // (CELLS // RANGES)
    for start in range(0, ZONES * ZONE, part):
        qmp.command('query-block-zone-summary',
                    {'node-name': 'disk', 'offset': start, 'length': part,
                     'ranges': RANGES})
    return time.monotonic() - began


def read_often(path: Path, pipe: Connection) -> None:
    """
    Reads by the export, one behind the other, from a word to the next: how
    long the slowest one took. None ends it.
    """
    # It may have been installed since this program was begun.
    import nbd  # pylint: disable=import-error,import-outside-toplevel
    client = nbd.NBD()
    client.set_export_name('disk')
    client.connect_unix(str(path))
    while pipe.recv():
        most = 0.0
        while not pipe.poll():
            began = time.monotonic()
            client.pread(512, 0)
            most = max(most, time.monotonic() - began)
        pipe.recv()
        pipe.send(most)
    client.shutdown()


def watch(folder: Path, rounds: int) -> Dict[str, List[float]]:
    """
    Seconds of a look at the zones, the longest that a read takes meanwhile,
    and the longest in as much time without a look.
    """
    seconds: Dict[str, List[float]] = {'look': [], 'read': [], 'alone': []}
    image = disk(folder)
    ours, theirs = multiprocessing.Pipe()
    with daemon_of(image, folder):
        qmp = Qmp(folder / 'qmp')
        # A process of its own: a thread would wait for Python, too.
        other = multiprocessing.Process(
            target=read_often, args=(folder / 'nbd', theirs))
        other.start()
        for _ in range(rounds):
            ours.send(True)
            seconds['look'].append(look(qmp))
            ours.send(True)
            seconds['read'].append(ours.recv())
            ours.send(True)
            time.sleep(seconds['look'][-1])
            ours.send(True)
            seconds['alone'].append(ours.recv())
        ours.send(None)
        other.join()
    image.path.unlink()
    return seconds
