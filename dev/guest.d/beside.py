#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a script on the host beside a guest, and does what it asks for.

  beside.py SCRIPT FOLDER

The folder has the sockets and results of the VM (see machine.py). The script
writes what it asks for to file descriptor 4, words as for a shell in a line,
and reads from 5 a line for each: `ok ANSWER` or `no REASON`. The functions of
steps/beside.sh do so; they say what can be asked for.
"""

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
# pylint: disable=wrong-import-position
from qmp import Qmp, Refused                            # noqa: E402

HEARING = 120           # seconds to wait for a word from the guest


def nested(words: List[str]) -> Dict[str, Any]:
    """Arguments as the command line has them: file.driver=file"""
    found: Dict[str, Any] = {}
    for word in words:
        path, _, text = word.partition('=')
        *outer, name = path.split('.')
        inside = found
        for key in outer:
            inside = inside.setdefault(key, {})
        try:
            inside[name] = json.loads(text)
        except ValueError:
            inside[name] = text
    return found


def one_line(value: Any) -> str:
    """An answer of QEMU"""
    text = value if isinstance(value, str) else json.dumps(value)
    return ' '.join(text.split())


class Vm:
    """QEMU's monitor, and the way to let its guest go on."""

    def __init__(self, folder: Path, which: str = '') -> None:
        self.qmp = Qmp(folder / f'qmp{which}')
        self.words = socket.socket(socket.AF_UNIX)
        self.words.connect(str(folder / f'word{which}'))


class Beside:
    """What the script can ask for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vm = Vm(folder)
        self.results = folder / 'results'
        self.heard = 0

    @cached_property
    def there(self) -> Vm:
        """The VM that the guest can move to"""
        return Vm(self.folder, '-there')

    def answer(self, line: str) -> str:
        """To a request"""
        name, *words = shlex.split(line)
        try:
            return ' '.join(['ok', getattr(self, f'do_{name}')(*words)])
        except Refused as refusal:
            return f'no {one_line(str(refusal))}'
        except (TimeoutError, EOFError) as reason:
            return f'no {type(reason).__name__} {reason}'

    def do_qmp(self, command: str, *arguments: str) -> str:
        """A command to QEMU"""
        return one_line(self.vm.qmp.command(command, nested(list(arguments))))

    def do_there(self, command: str, *arguments: str) -> str:
        """A command to the other QEMU"""
        return one_line(self.there.qmp.command(command,
                                               nested(list(arguments))))

    def do_arrived(self) -> str:
        """From now on, the VM is the other one"""
        self.vm = self.there
        return ''

    def do_zones(self, node: str) -> str:
        """How many are empty, open, closed and full"""
        found, = [disk for disk in
                  self.vm.qmp.command('query-named-block-nodes',
                                      {'flat': True})
                  if disk['node-name'] == node]
        data = found['image']['format-specific']['data']
        return ' '.join(str(data[f'{name}-zones'])
                        for name in ('empty', 'open', 'closed', 'full'))

    def do_event(self) -> str:
        """The next event: its name, and what it says, as NAME=VALUE"""
        event = self.vm.qmp.event()
        return ' '.join([event['event'], *(
            f'{key}={one_line(value)}'
            for key, value in event.get('data', {}).items())])

    def do_figure(self, node: str, *names: str) -> str:
        """The sum of figures that QEMU keeps of a disk"""
        stats = self.vm.qmp.stats(node)
        return str(sum(stats[name] for name in names))

    def do_hear(self, word: str) -> str:
        """What else is in the next line in which the guest says a word"""
        end = time.monotonic() + HEARING
        while time.monotonic() < end:
            lines = self.results.read_text('utf-8', 'replace').split('\n')[:-1]
            for i in range(self.heard, len(lines)):
                if lines[i].startswith(f'# {word}'):
                    self.heard = i + 1
                    return lines[i][len(word) + 2:].strip()
            time.sleep(0.1)
        raise TimeoutError(f'the guest has not said: {word}')

    def do_go_on(self, word: str = 'go') -> str:
        """Let the guest go on that has said it, and tell it a word"""
        self.vm.words.sendall(f'{word}\n'.encode())
        return ''


def main() -> int:
    """Until the script ends."""
    script, folder = sys.argv[1:]
    beside = Beside(Path(folder))
    requests, to_us = os.pipe()
    from_us, answers = os.pipe()
    # As file descriptors 4 and 5
    with subprocess.Popen(
            ['bash', '-c', f'exec 4>&{to_us} 5<&{from_us}\n{script}'],
            stdin=subprocess.DEVNULL, pass_fds=(to_us, from_us)) as process:
        os.close(to_us)
        os.close(from_us)
        with open(requests, encoding='utf-8') as lines, \
                open(answers, 'w', encoding='utf-8') as out:
            for line in lines:
                print(beside.answer(line), file=out, flush=True)
        return process.wait()


if __name__ == '__main__':
    sys.exit(main())
