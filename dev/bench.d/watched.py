# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes to a storage daemon's disk, with and without a map of its zones."""

import os
import pty
import re
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from measure import BIN, Image, run
from project import BASE_VERSION, BUILD
from qmp import Qmp

MAP = BUILD / f'qemu-{BASE_VERSION}' / 'scripts' / 'qemu-zone-map'
SIZE = 4096


def drain(master: int) -> None:
    """Somebody looks at the terminal."""
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass


@contextmanager
def map_of(monitor: Path) -> Iterator[None]:
    """A map on a terminal, drawn four times a second."""
    master, slave = pty.openpty()
    with subprocess.Popen([MAP, '--qmp', monitor, 'disk', '--interval',
                           '0.25'], stdin=slave, stdout=slave, stderr=slave,
                          env={**os.environ, 'TERM': 'xterm'}) as process:
        os.close(slave)
        reader = threading.Thread(target=drain, args=(master,))
        reader.start()
        time.sleep(1)
        yield
        assert process.poll() is None, 'the map has ended'
        os.write(master, b'q')
    reader.join()
    os.close(master)


@contextmanager
def daemon_of(image: Image, folder: Path) -> Iterator[None]:
    """A storage daemon with the image, and monitors for us and the map."""
    words = []
    for name in ('ours', 'map'):
        (folder / name).unlink(missing_ok=True)
        words += ['--chardev', f'socket,path={folder / name},id={name},'
                  'server=on,wait=off', '--monitor', f'chardev={name}']
    with subprocess.Popen(
            [BIN / 'qemu-storage-daemon', *words, '--blockdev',
             f'node-name=disk,{image.node()}', '--nbd-server',
             f'addr.type=unix,addr.path={folder / "nbd"}', '--export',
             'nbd,id=export,node-name=disk,writable=on']) as process:
        Qmp(folder / 'ours')
        yield
        process.terminate()


def write_rate(folder: Path, count: int, watched: bool) -> float:
    """Writes in a second to a new disk of a million zones."""
    image = Image('watched', 'zoned', 64 << 30, ['zone_size=64K'], folder)
    with daemon_of(image, folder):
        if watched:
            with map_of(folder / 'map'):
                rate = written(folder, count)
        else:
            time.sleep(1)
            rate = written(folder, count)
    image.path.unlink()
    return rate


def written(folder: Path, count: int) -> float:
    """What qemu-img says of so many writes in order."""
    said = run(BIN / 'qemu-img', 'bench', '-w', '-f', 'raw', '-c', count,
               '-d', 16, '-s', SIZE,
               f'nbd+unix:///disk?socket={folder / "nbd"}')
    found = re.search(r'completed in ([\d.]+) seconds', said)
    assert found, said
    return count / float(found[1])
