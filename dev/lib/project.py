# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Python commands start from: where things are, and which versions.

As common.sh is for the others.
"""

import fcntl
import re
import shutil
import sys
from pathlib import Path
from typing import Dict, Iterable

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


def copy_programs(source: Path, target: Path, names: Iterable[str]) -> None:
    """So that a build that goes on meanwhile does not change them."""
    with open(BUILD / '.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        for name in names:
            shutil.copy(source / name, target / name)
