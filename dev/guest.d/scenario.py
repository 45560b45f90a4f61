# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario: its steps, run one after the other, and what they said."""

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

from machine import GUEST, ROOT, Boot, Machine, step_library

SCENARIOS = ROOT / 'dev' / 'scenarios'
SETTINGS = ('device', 'disk', 'qemu', 'image', 'seconds', 'kernel', 'needs',
            'minutes')


def show_console(console, lines=80):
    """The end of what a step printed, if it got that far."""
    if not console.exists():
        return
    text = console.read_text(errors='replace').replace('\r', '')
    print(f'--- {console} (its end)')
    print('\n'.join(text.splitlines()[-lines:]))
    print('---', flush=True)


def read_settings(text):
    """The lines `# NAME: VALUE` of a step."""
    found = re.findall(rf'^# ({"|".join(SETTINGS)}): (.*)$', text, re.M)
    return {name: value.strip() for name, value in found}


class Step:
    """A file of a scenario; @common are settings of all its steps."""

    def __init__(self, path, common):
        self.path = path
        self.name = path.stem
        self.kind = path.stem.rsplit('-', 1)[1]     # host, guest or cut
        self.text = path.read_text(encoding='utf-8')
        self.settings = {**common, **read_settings(self.text)}
        functions = path.with_name('functions.sh')
        if functions.exists():
            self.text = functions.read_text(encoding='utf-8') + self.text

    def meanwhile(self):
        """What runs beside it, if there is anything."""
        script = self.path.with_name(
            self.path.name.replace('-guest.sh', '-meanwhile.py'))
        return script if script != self.path and script.exists() else None


class Scenario:
    """A folder of steps."""

    def __init__(self, name):
        self.name = name
        folder = SCENARIOS / name
        paths = [p for p in sorted(folder.glob('[0-9]*-*.sh'))
                 if re.search(r'-(host|guest|cut)$', p.stem)]
        common = read_settings(
            ''.join(p.read_text(encoding='utf-8') for p in paths[:1]))
        self.steps = [Step(p, common) for p in paths]
        self.kernel = common.get('kernel')
        self.minutes = common.get('minutes')
        self.fio = common.get('needs') == 'fio'

    def has_cuts(self):
        """Whether power is cut in it."""
        return any(step.kind == 'cut' for step in self.steps)

    def about(self):
        """What its first step says it is about."""
        text = self.steps[0].path.read_text(encoding='utf-8')
        for line in text.splitlines():
            if not re.match(rf'# (shellcheck|SPDX|({"|".join(SETTINGS)}):)',
                            line):
                return line.lstrip('# ')
        return ''


class Run:
    """One run of a scenario."""

    def __init__(self, scenario, args, kernel):
        self.args = args
        self.scenario = scenario
        self.kernel = kernel
        self.machine = Machine(args.programs, kernel)
        qemu = (args.programs / 'qemu-system-x86_64').resolve()
        self.folder = GUEST / 'runs' / qemu.parent.name / scenario.name
        if kernel != 'stable':
            self.folder = self.folder.with_name(f'{scenario.name}-{kernel}')
        self.counts = Counter()
        self.started = time.monotonic()

    @property
    def saved(self):
        """What guests have saved."""
        return self.folder / 'saved'

    def run(self, minutes):
        """All steps, up to the first that is not well."""
        # A scenario that failed may have left a file system mounted.
        for left in filter(os.path.ismount, self.folder.glob('*')):
            subprocess.run(['umount', left], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        print(f'# scenario {self.scenario.name}, kernel {self.kernel}',
              flush=True)
        good = all(self._repeat(step, minutes) for step in self.scenario.steps)
        self._summary(good)
        return good

    def _summary(self, good):
        seconds = time.monotonic() - self.started
        counts = ''.join(
            f', {self.counts[name]} {what}' for name, what in
            (('cuts', 'power cuts'), ('written', 'bytes written'),
             ('verified', 'bytes verified'),
             ('lost', 'bytes lost after fsync'),
             ('check', 'check errors')) if self.counts['cuts'])
        print(f'# {self.scenario.name}, kernel {self.kernel}: '
              f'{"passed" if good else "FAILED"}, {self.counts["ok"]} ok, '
              f'{self.counts["not ok"]} not ok{counts}, {seconds:.0f} seconds',
              flush=True)

    def _repeat(self, step, minutes):
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

    def _step(self, step, cut=0, early=False):
        """Run one step and print its results. Whether all is well."""
        started = time.monotonic()
        console = self.folder / f'{step.name}.console'
        if step.kind == 'host':
            lines, status = self._host_step(step, console)
        else:
            outcome = self.machine.run(
                self._boot(step, console, cut)._replace(early=early))
            lines, status = outcome.lines, outcome.status
            self.counts['written'] += outcome.written
        good = self._take(lines) and bool(lines or early) and status == 0
        if not good and not any(line.startswith('not ok') for line in lines):
            self._take([f'not ok {step.name} ends without an error'])
        self.counts['cuts'] += bool(cut)
        which = f', power cut {cut}{", early" if early else ""}' if cut else ''
        seconds = time.monotonic() - started
        print(f'# {step.name}{which}: {seconds:.0f} seconds', flush=True)
        if not good:
            show_console(console)
        return good

    def _boot(self, step, console, cut):
        settings = step.settings
        script = f'. /library.sh\n{step.text}\nfinish\n'
        return Boot(
            image=self.folder / settings.get('image', 'disk.zoned'),
            script=script, saved=self.saved, console=console,
            device=settings.get('device', 'virtio-blk'), fio=self.scenario.fio,
            disk=settings.get('disk', ''),
            qemu=tuple(shlex.split(settings.get('qemu', ''))),
            variables=f'CUT={cut}\nSEED={random.randrange(1, 1 << 31)}\n',
            timeout=int(settings.get('seconds', self.args.timeout)),
            meanwhile=step.meanwhile(),
            cut=self.args.load if step.kind == 'cut' else 0)

    def _host_step(self, step, console):
        """Run a step on the host. Returns (result lines, exit status)."""
        env = dict(os.environ, GUEST_KIT=str(self.machine.kit),
                   PATH=f'{self.args.programs}:{os.environ["PATH"]}')
        script = (f'exec 3>&1 >&2\n{step_library("absolute")}\n'
                  f'{step.text}\nfinish\n')
        with open(console, 'w', encoding='utf-8') as out:
            done = subprocess.run(
                ['bash', '-c', script], cwd=self.folder, env=env,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out,
                timeout=self.args.timeout, check=False,
                universal_newlines=True)
        return done.stdout.splitlines(), done.returncode

    def _check_image(self, step):
        """After a power cut, the image is in order."""
        image = self.folder / step.settings.get('image', 'disk.zoned')
        done = subprocess.run(
            [str(self.args.programs / 'qemu-img'), 'check', '-f', 'zoned',
             str(image)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False, universal_newlines=True)
        self.counts['check'] += done.returncode != 0
        return self._take(
            ['ok qemu-img check after the power cut'] if not done.returncode
            else ['not ok qemu-img check after the power cut',
                  *[f'# {line}' for line in done.stdout.splitlines()]])

    def _take(self, lines):
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
                good = good and not line.startswith('not ok')
                print(line)
        return good

    def _keep(self, word, rest):
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
