# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs and a reader with faults, which the fuzzer has to notice."""

import array
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, Optional, Tuple

import programs
import zoned_image

# What to do around a program's call; $image is the file that it is about.
WRAPPER = '''#!/bin/bash
image=${{!#}}
image=${{image##*filename=}}
image=${{image%%,*}}
report=${{ASAN_OPTIONS#log_path=}}
report=${{report%%:*}}
real() {{ {real} "$@"; }}
case "$*" in
{case}
*) exec {real} "$@" ;;
esac
'''

# What is noticed: what a program does
WRAPPED: Dict[str, str] = {
    'a crash': 'check*) kill -SEGV $$ ;;',
    'a program that hangs': 'info*) exec sleep 10 ;;',
    'a sanitizer report': 'info*) real "$@"; s=$?; echo x >"$report.1"; '
                          'exit $s ;;',
    'a check that finds nothing': 'check*) exit 0 ;;',
    'a check that writes': 'check*) real "$@"; s=$?; touch "$image"; '
                           'exit $s ;;',
    'a repair that is never done': '"check -r all"*) exit 0 ;;',
    'output without end': 'check*) head -c 99M /dev/zero; exit 1 ;;',
}


def any_address(self: zoned_image.Header, i: int,
                raw: int) -> Optional[zoned_image.Zone]:
    """Instead of Header.decode(): one rule of it is missing."""
    zone = zoned_image.Zone(raw >> 60, raw & (zoned_image.CONV_BIT - 1))
    return zone if zone.cond else DECODE(self, i, raw)


DECODE = zoned_image.Header.decode


def no_extension(self: zoned_image.Header, i: int,
                 zone: zoned_image.Zone) -> zoned_image.Zone:
    """Instead of Header.power_cycled()."""
    return POWER_CYCLED(self, i, zone._replace(extended=False))


POWER_CYCLED = zoned_image.Header.power_cycled


def no_length(_self: zoned_image.Image) -> bool:
    """Instead of Image.is_short()."""
    return False


def no_sums(self: zoned_image.Log, f: BinaryIO, base: int,
            table: 'array.array[int]') -> None:
    """Instead of Log.replay(): the last record counts without its data."""
    for record in self.records:
        record.sums.clear()
    REPLAY(self, f, base, table)


def no_log(_self: zoned_image.Log, _f: BinaryIO, _base: int,
           _table: 'array.array[int]') -> None:
    """Instead of Log.replay()."""


REPLAY = zoned_image.Log.replay


# What is noticed: (class, method, what it is instead)
READERS: Dict[str, Tuple[Any, str, Any]] = {
    'an impossible zone that is taken for valid':
        (zoned_image.Header, 'decode', any_address),
    'an extension that is lost':
        (zoned_image.Header, 'power_cycled', no_extension),
    'a log that is not read': (zoned_image.Log, 'replay', no_log),
    'a record without its data': (zoned_image.Log, 'replay', no_sums),
    'a truncated image that is taken for valid':
        (zoned_image.Image, 'is_short', no_length),
    'a damaged header that is taken for valid':
        (zoned_image, 'header_checksum',
         lambda raw: zoned_image.get_field(raw, 'checksum')),
}


@contextmanager
def wrapped(folder: Path, real: Path, case: str) -> Iterator[Path]:
    """A folder of programs in which qemu-img has a fault."""
    for name in ('qemu-img', 'qemu-io'):
        (folder / name).unlink(missing_ok=True)
    os.symlink(real / 'qemu-io', folder / 'qemu-io')
    script = folder / 'qemu-img'
    script.write_text(WRAPPER.format(real=real / 'qemu-img', case=case))
    script.chmod(0o755)
    timeout, programs.TIMEOUT = programs.TIMEOUT, 5
    yield folder
    programs.TIMEOUT = timeout


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """A reader with a fault."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    yield
    setattr(owner, name, original)
