# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a scenario: its steps one after the other, and what they said."""

import argparse
import base64
import os
import random
import re
import shlex
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import List, Optional, Tuple

import tap
from machine import (
    GUEST, Boot, Cut, Kernel, Machine, Seen, has_booted, image_options,
    is_ready)
from scenario import PARTS, Scenario, Step


def show_console(console: Path, lines: int = 80) -> None:
    """The end of what a step printed, if it got that far."""
    if not console.exists():
        return
    text = console.read_text(errors='replace').replace('\r', '')
    print(f'--- {console} (its end)')
    print('\n'.join(text.splitlines()[-lines:]))
    print('---', flush=True)


def library(*names: str, pointers: str) -> str:
    """
    The shell functions for a step, as one text: those for all, and the files
    of these names. In zone reports, pointers are relative or absolute.
    """
    texts = [(PARTS / 'steps' / f'{name}.sh').read_text(encoding='utf-8')
             for name in ('assert', 'zones', *names)]
    return '\n'.join([*texts, f'ZONE_POINTERS={pointers}\n'])


def guest_library() -> str:
    """Those for the guest."""
    return library('load', 'fail', 'export', pointers='relative')


def has_synced(seen: Seen) -> bool:
    """Its load is at work, and some of it is durable."""
    return is_ready(seen) and \
        any(line.startswith('add synced S ') for line in seen.lines)


class Run:
    """One run of a scenario."""

    def __init__(self, scenario: Scenario, args: argparse.Namespace,
                 kernel: Kernel) -> None:
        self.args = args
        self.scenario = scenario
        self.machine = Machine(args.programs, kernel, args.gdb)
        self.kernel = f'kernel {kernel.version}'
        qemu = (args.programs / 'qemu-system-x86_64').resolve()
        self.folder: Path = \
            GUEST / 'runs' / qemu.parent.name / scenario.name
        if kernel.name != 'stable':
            self.folder = self.folder.with_name(
                f'{scenario.name}-{kernel.name}')
        self.counts: 'Counter[str]' = Counter()
        self.started = time.monotonic()

    @property
    def saved(self) -> Path:
        """What guests have saved."""
        return self.folder / 'saved'

    def run(self, minutes: float) -> bool:
        """All steps, up to the first that is not well."""
        # A scenario that failed may have left a file system mounted.
        for left in filter(os.path.ismount, self.folder.glob('*')):
            subprocess.run(['umount', left], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        print(f'# scenario {self.scenario.name}, {self.kernel}', flush=True)
        good = all(self._repeat(step, minutes) for step in self.scenario.steps
                   if step.kind != 'meanwhile')
        self._summary(good)
        return good

    def _summary(self, good: bool) -> None:
        seconds = time.monotonic() - self.started
        counts = ''.join(
            f', {self.counts[name]} {what}' for name, what in
            (('cuts', 'power cuts'), ('written', 'bytes written'),
             ('verified', 'bytes verified'),
             ('lost', 'bytes lost after fsync'),
             ('check', 'check errors')) if self.counts['cuts'])
        print(f'# {self.scenario.name}, {self.kernel}: '
              f'{"passed" if good else "FAILED"}, {self.counts["ok"]} ok, '
              f'{self.counts["not ok"]} not ok{counts}, {seconds:.0f} seconds',
              flush=True)

    def _repeat(self, step: Step, minutes: float) -> bool:
        """A step; with power cuts, as often as is wanted."""
        if step.kind != 'cut':
            return self._step(step)
        end = time.monotonic() + minutes * 60
        number, early = 0, False
        # Not the last one is early, or nothing would be left to look for.
        while number < self.args.cuts or time.monotonic() < end or early:
            number += 1
            early = number > 1 and random.random() < 0.2
            if not (self._step(step, number, early) and
                    self._check_image(step)):
                return False
        return True

    def _step(self, step: Step, cut: int = 0, early: bool = False) -> bool:
        """Run one step and print its results. Whether all is well."""
        started = time.monotonic()
        console = self.folder / f'{step.function}.console'
        if step.kind == 'host':
            lines, status = self._host_step(step, console)
        else:
            outcome = self.machine.run(self._boot(step, console, cut, early))
            lines, status = outcome.lines, outcome.status
            self.counts['written'] += outcome.written
        good = self._take(lines) and bool(lines or early) and status == 0
        if not good and not any(map(tap.is_failure, lines)):
            self._take(tap.lines(False, f'{step.function} ends without an '
                                 'error'))
        self.counts['cuts'] += bool(cut)
        which = f', power cut {cut}{", early" if early else ""}' if cut else ''
        seconds = time.monotonic() - started
        print(f'# {step.function}{which}: {seconds:.0f} seconds', flush=True)
        if not good:
            show_console(console)
        return good

    def _image(self, step: Step) -> Path:
        return self.folder / step.settings.get('image', 'disk.zoned')

    def _there(self, step: Step) -> Optional[Path]:
        """The disk of the second VM, if there is to be one."""
        name = step.settings.get('there')
        return self.folder / name if name else None

    def _boot(self, step: Step, console: Path, cut: int, early: bool) -> Boot:
        settings = step.settings
        return Boot(
            image=self._image(step), there=self._there(step),
            console=console, saved=self.saved,
            script=f'. /library.sh\n{self._call(step)}',
            files={'library.sh': guest_library()},
            device=settings.get('device', 'virtio-blk'), fio=self.scenario.fio,
            tools=self.scenario.tools,
            disk=settings.get('disk', ''), format=settings.get('format', ''),
            file=settings.get('file', ''),
            qemu=tuple(shlex.split(settings.get('qemu', ''))),
            parameters=settings.get('parameters', ''),
            says=settings.get('says', ''),
            variables=f'CUT={cut}\nSEED={random.randrange(1, 1 << 31)}\n',
            timeout=int(settings.get('seconds', self.args.timeout)),
            meanwhile=self._meanwhile(step),
            cut=Cut(random.uniform(0.2, self.args.load),
                    has_booted if early else has_synced, counted=True)
            if step.kind == 'cut' else None)

    def _call(self, step: Step) -> str:
        """The text of a script that is a step."""
        variables = [f'{name}={shlex.quote(value)}'
                     for name, value in self.scenario.variables.items()]
        return '\n'.join([*variables, self.scenario.text, step.function,
                          'finish', ''])

    def _script(self, step: Step, *names: str) -> str:
        """For bash on the host: the results are what it prints."""
        names = ('nbd', *['cluster'] * self.scenario.cluster, *names)
        return (f'exec 3>&1 >&2\n{library(*names, pointers="absolute")}\n'
                f'{self._call(step)}')

    def _meanwhile(self, step: Step) -> Tuple[str, ...]:
        """What runs beside the guest of a step."""
        beside = self.scenario.meanwhile(step)
        if not beside:
            return ()
        return ('/usr/bin/python3', str(PARTS / 'beside.py'),
                self._script(beside, 'beside'))

    def _host_step(self, step: Step, console: Path) -> Tuple[List[str], int]:
        """Run a step on the host. Returns (result lines, exit status)."""
        env = dict(self.machine.env, GUEST_KIT=str(self.machine.kernel.kit))
        with open(console, 'w', encoding='utf-8') as out:
            done = subprocess.run(
                ['bash', '-c', self._script(step)], cwd=self.folder, env=env,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out,
                timeout=self.args.timeout, check=False, text=True)
        return done.stdout.splitlines(), done.returncode

    def _check_image(self, step: Step) -> bool:
        """After a power cut, the image is in order."""
        done = subprocess.run(
            [str(self.args.programs / 'qemu-img'), 'check', '--image-opts',
             image_options(self._image(step), step.settings.get('format', ''),
                           step.settings.get('file', ''))],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False, text=True)
        self.counts['check'] += done.returncode != 0
        return self._take(tap.lines(
            done.returncode == 0, 'qemu-img check after the power cut',
            done.stdout.splitlines() if done.returncode else ()))

    def _take(self, lines: List[str]) -> bool:
        """Print results, keep what is to be kept. Whether all are good."""
        good = True
        for line in lines:
            word, _, rest = line.partition(' ')
            if word in ('save', 'add', 'drop'):
                self._keep(word, rest)
            elif word == 'count':
                name, number = rest.split()
                self.counts[name] += int(number)
            elif word != 'ready':
                result = re.match(r'(not )?ok\b', line)
                self.counts[result[0] if result else ''] += 1
                good = good and not tap.is_failure(line)
                print(line)
        return good

    def _keep(self, word: str, rest: str) -> None:
        """`save NAME BASE64`, `add NAME LINE` or `drop NAME`"""
        name, _, data = rest.partition(' ')
        path = self.saved / Path(name).name
        self.saved.mkdir(exist_ok=True)
        if word == 'save':
            path.write_bytes(base64.b64decode(data))
        elif word == 'drop':
            path.unlink(missing_ok=True)
        else:
            with open(path, 'a', encoding='utf-8') as out:
                out.write(data + '\n')
