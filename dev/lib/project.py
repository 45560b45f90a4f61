# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Python commands start from: where things are, and which versions.

As common.sh is for the others.
"""

import fcntl
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Dict, Iterable, Optional

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / 'build'
LIB = ROOT / 'dev' / 'lib'


def _versions() -> Dict[str, str]:
    text = (LIB / 'versions.sh').read_text(encoding='utf-8')
    return dict(re.findall(r'^(\w+)=(\S+)', text, re.M))


VERSIONS = _versions()
BASE_VERSION = VERSIONS['BASE_VERSION']

if sys.version_info < tuple(map(int, VERSIONS['PYTHON_NEEDED'].split('.'))):
    sys.exit(f'dev/ needs Python {VERSIONS["PYTHON_NEEDED"]}')


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _end(number: int, _frame: Optional[FrameType]) -> None:
    """Signal handler: temporary folders go, and once is enough for that."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def contain() -> None:
    """
    The first time, begin this command anew below dev/lib/contained, which ends
    what it has started.
    """
    if os.environ.get('CONTAINED') != str(os.getppid()):
        contained = str(LIB / 'contained')
        os.execv(contained,
                 [contained, os.path.abspath(sys.argv[0]), *sys.argv[1:]])
    for each in SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _end)


def copy_programs(source: Path, target: Path, names: Iterable[str]) -> None:
    """So that a build that goes on meanwhile does not change them."""
    with open(BUILD / '.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        for name in names:
            shutil.copy(source / name, target / name)
