# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-img, killed while it makes or repairs an image."""

import random
import struct
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Iterator, List, Tuple, Type

from planner import DEVICES
from verify import run
from zoned_image import Image, SoundZones, same_zones

MIB = 1 << 20


class Interrupted:
    """What both kinds have in common; each object is one round."""

    # How long one takes that is not killed, at least in seconds
    duration = 0.01
    name = ''

    def __init__(self, rng: Random, programs: Path, path: Path) -> None:
        self.rng = rng
        self.programs = programs
        self.path = path

    def run(self) -> Tuple[bool, List[str]]:
        """Returns (whether it was killed in time, complaints)."""
        raise NotImplementedError

    def kill(self, *words: str) -> bool:
        """Whether the program was killed before it ended."""
        kind = type(self)
        with subprocess.Popen([str(self.programs / 'qemu-img'), *words],
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as child:
            started = time.monotonic()
            try:
                child.wait(self.rng.uniform(0.2, 1.3) * kind.duration)
            except subprocess.TimeoutExpired:
                child.kill()
                # Next time, wait a bit longer, or less.
                kind.duration *= 1.1
                return child.wait() < 0
            kind.duration = min(kind.duration, time.monotonic() - started)
            return False


class InterruptedCreate(Interrupted):
    """What is left is no image, or all of a new one."""

    name = 'qemu-img create'

    def run(self) -> Tuple[bool, List[str]]:
        """Returns (whether it was killed in time, complaints)."""
        if self.rng.random() < 0.7:
            # Nothing of this may be in a new image.
            self.path.write_bytes(b'old data' * (MIB * 3 // 8))
        options = self.rng.choice(DEVICES) + self.rng.choice(
            ['', ',preallocation=falloc', ',preallocation=full'])
        killed = self.kill('create', '-q', '-f', 'zoned', '-o', options,
                           str(self.path))
        if not self.path.exists():
            return killed, []
        try:
            self._check(Image(self.path))
        except AssertionError as error:
            return killed, [str(error)]
        return killed, []

    def _check(self, image: Image) -> None:
        if not image.found:
            run(self.programs, 'qemu-img', 'info', '-f', 'zoned',
                str(self.path), fails=True)
            run(self.programs, 'qemu-img', 'check', '-r', 'all', '-f',
                'zoned', str(self.path), fails=True)
            return
        assert image.valid, f'a part of an image: {image.why}'
        assert image.pristine, 'not all zones are empty'
        raw = f'{self.path}.raw'
        run(self.programs, 'qemu-img', 'convert', '-f', 'zoned', '-O', 'raw',
            str(self.path), raw)
        assert not any(Path(raw).read_bytes()), 'old data is in a new image'


class InterruptedRepair(Interrupted):
    """What is left can be repaired, to what it would have become at once."""

    name = 'qemu-img check -r all'

    def run(self) -> Tuple[bool, List[str]]:
        """Returns (whether it was killed in time, complaints)."""
        self._make()
        damaged = Image(self.path)
        expected = damaged.repaired()
        killed = self.kill('check', '-r', 'all', '-f', 'zoned', str(self.path))
        try:
            self._check(Image(self.path), damaged, expected)
            run(self.programs, 'qemu-img', 'check', '-q', '-r', 'all', '-f',
                'zoned', str(self.path))
            after = Image(self.path)
            assert after.valid and same_zones(after.opened(), expected), \
                'a second repair does not do what the first was to do'
        except AssertionError as error:
            return killed, [str(error)]
        return killed, []

    def _make(self) -> None:
        """An image with impossible zones, and perhaps too short."""
        run(self.programs, 'qemu-img', 'create', '-q', '-f', 'zoned', '-o',
            self.rng.choice(DEVICES), str(self.path))
        header = Image(self.path).header
        count = min(header.nr_zones, self.rng.choice([1, 2, 20]))
        with open(self.path, 'r+b') as f:
            for i in self.rng.sample(range(header.nr_zones), count):
                f.seek(header.table_offset + i * 8)
                f.write(struct.pack('<Q', self.rng.getrandbits(64)))
            if self.rng.random() < 0.3:
                f.truncate(header.data_offset)

    @staticmethod
    def _check(image: Image, damaged: Image, expected: SoundZones) -> None:
        assert image.found, f'the header is damaged: {image.why}'
        for i, zone in enumerate(image.zones):
            assert zone in (damaged.zones[i], expected[i]), \
                f'zone {i} is {zone}, was {damaged.zones[i]}, and is to ' \
                f'become {expected[i]}'


def interrupted_rounds(seed: str, programs: Path, folder: Path,
                       rounds: int) -> Iterator[Tuple[str, bool, List[str]]]:
    """Yields (name, whether it was killed in time, complaints)."""
    rng = random.Random(seed)
    kinds: List[Type[Interrupted]] = [InterruptedCreate, InterruptedRepair]
    for number in range(rounds):
        kind = rng.choice(kinds)
        killed, complaints = kind(rng, programs, folder / 'interrupted').run()
        yield kind.name, killed, [f'round {seed}-{number}, {kind.name}: {c}'
                                  for c in complaints]
        for left in folder.glob('interrupted*'):
            left.unlink()
