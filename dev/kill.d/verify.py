# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU says of an image whose server was killed."""

import re
import subprocess
from pathlib import Path
from typing import List, Tuple

from history import History
from zoned_image import (
    FULL, Header, Image, NOT_WP, Zone, fingerprint, read_at)


def run(programs: Path, name: str, *words: str, fails: bool = False) -> str:
    """What a program says, errors last. One that hangs is an error, too."""
    done = subprocess.run([str(programs / name), *words], timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    said = (done.stdout + done.stderr).decode(errors='replace')
    if bool(done.returncode) != fails:
        raise AssertionError(f'{name} {" ".join(words)} ended with '
                             f'{done.returncode}:\n{said[-2000:]}')
    return said


def expected_device(path: Path, image: Image) -> bytes:
    """All bytes that the device has to show."""
    header, device = image.header, bytearray(image.header.size)
    with open(path, 'rb') as f:
        for i, zone in enumerate(image.opened()):
            start = header.start(i)
            device[start:zone.end] = read_at(f, header.data_offset + start,
                                             zone.end - start)
    return bytes(device)


def report_line(header: Header, i: int, zone: Zone) -> Tuple[int, int, int]:
    """What a report must say of zone i"""
    wp = header.limit(i) if zone.cond in (FULL, NOT_WP) else zone.end
    return (header.start(i), wp, zone.cond)


def look(programs: Path, path: Path, image: Image) -> None:
    """The report of a read-only qemu-io, which takes no zone operation."""
    header = image.header
    last = header.nr_zones - 1
    start, size = header.start(last), header.limit(last) - header.start(last)
    commands = [f'zrp 0 {header.nr_zones}', f'zrs {start} {size}',
                f'zf {start} {size}', f'zo {start} {size}',
                f'zc {start} {size}', f'zap -p {start} 512',
                f'read -q 0 {header.size}', 'flush']
    said = run(programs, 'qemu-io', '-r', '-f', 'zoned', str(path),
               *[word for c in commands for word in ('-c', c)], fails=True)
    denied = said.count('qemu-io: Block node is read-only\n')
    assert denied == 5, f'{denied} of 5 operations denied: {said}'
    assert 'read failed' not in said, said
    seen = [(int(a, 16) * 512, int(b, 16) * 512, int(c)) for a, b, c in
            re.findall(r'start: (\w+), .*wptr (\w+), zcond:(\d+)', said)]
    expected = [report_line(header, i, zone)
                for i, zone in enumerate(image.opened())]
    assert seen == expected, f'reported {seen}, in the image {expected}'


def verify(programs: Path, path: Path, folder: Path,
           history: History) -> List[str]:
    """Complaints about what is left. Nothing that is done here may write."""
    before = fingerprint(path)
    image = Image(path)
    complaints = history.judge(path, image)
    if not image.valid:
        return complaints
    try:
        said = run(programs, 'qemu-img', 'check', '-f', 'zoned', str(path))
        assert 'No errors were found' in said, said
        run(programs, 'qemu-img', 'info', '-f', 'zoned', str(path))
        look(programs, path, image)
        raw = folder / 'device'
        run(programs, 'qemu-img', 'convert', '-f', 'zoned', '-O', 'raw',
            str(path), str(raw))
        assert raw.read_bytes() == expected_device(path, image), \
            'the device does not show what is in the image'
    except AssertionError as error:
        complaints.append(str(error))
    if fingerprint(path) != before:
        complaints.append('opening the image read-only has changed it')
    return complaints
