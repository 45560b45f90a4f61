# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot of the guest: to the end of its script, or until power is cut."""

import random
import re
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Optional

from qmp import Qmp

ROOT = Path(__file__).resolve().parent.parent.parent
GUEST = ROOT / 'build' / 'guest'
KITS = {'stable': GUEST / 'kit', 'newest': GUEST / 'kit-newest'}

# How often a VM is started at most, see _is_race_of_tcg()
MAX_STARTS = 3

# What steps may use: in the guest, and on the host.
STEP_LIBRARY = ('assert.sh', 'zones.sh', 'load.sh', 'export.sh')

# name: (its -device arguments, its name in the guest)
DEVICES = {
    'virtio-blk': (['virtio-blk-pci,id=virtio,drive=disk'], '/dev/vda'),
    'virtio-blk-4k': (['virtio-blk-pci,drive=disk,logical_block_size=4096,'
                       'physical_block_size=4096'], '/dev/vda'),
    'virtio-blk-stop': (['virtio-blk-pci,drive=disk,werror=stop'], '/dev/vda'),
    'nvme': (['nvme,id=nvme,serial=zoned', 'nvme-ns,drive=disk,bus=nvme'],
             '/dev/nvme0n1'),
}


class Boot(NamedTuple):
    """What a guest is to be, and to do."""
    image: Path
    script: str
    saved: Path                     # files for it
    console: Path
    device: str = 'virtio-blk'
    fio: bool = False               # it has fio
    disk: str = ''                  # more options of the zoned node
    qemu: tuple = ()                # more arguments of QEMU
    variables: str = ''             # more of them for the script
    timeout: int = 180
    meanwhile: Optional[Path] = None
    # Power is cut at most so many seconds after the guest has said `ready` and
    # that it has synced something; if early, after its script has begun.
    cut: float = 0
    early: bool = False


class Outcome(NamedTuple):
    """What came of it."""
    lines: list                     # what the guest said, and what went wrong
    status: int                     # 0 if all went as it should
    written: int = 0                # bytes the guest wrote before the cut


def step_library(zone_pointers):
    """The shell functions for a step, as one text."""
    texts = [(ROOT / 'dev' / 'lib' / name).read_text(encoding='utf-8')
             for name in STEP_LIBRARY]
    return '\n'.join([*texts, f'ZONE_POINTERS={zone_pointers}\n'])


def _is_race_of_tcg(boot, outcome):
    """
    Whether QEMU aborted while Linux was setting up PCI, as it does now and
    then with two emulated processors: before any disk was used. An access to
    the memory of one device may reach another one, and asserts there.
    """
    return any('Assertion `' in line for line in outcome.lines) and \
        b'Run /init' not in boot.console.read_bytes()


class Machine:
    """A virtual machine with a kernel of its own, and QEMU's programs."""

    def __init__(self, programs, kernel):
        self.programs = programs
        self.kit = KITS[kernel]

    def run(self, boot):
        """Boot it. Returns the outcome."""
        for attempt in range(MAX_STARTS):
            with TemporaryDirectory(prefix='zoned-guest-') as name:
                outcome = _Running(self, boot, Path(name)).run()
            if not _is_race_of_tcg(boot, outcome):
                break
            print(f'# QEMU aborted before the guest had a disk, start '
                  f'{attempt + 1} of {MAX_STARTS}', flush=True)
        return outcome

    def command(self, boot, folder):
        """QEMU's arguments. Both serial ports go to files."""
        devices = [word for d in DEVICES[boot.device][0]
                   for word in ('-device', d)]
        disk = 'driver=zoned,node-name=disk,file.driver=file,' \
            f'file.filename={boot.image}'
        port = [] if not boot.meanwhile else [
            '-chardev',
            f'socket,id=word,path={folder}/word,server=on,wait=off',
            '-serial', 'chardev:word']
        return [
            str(self.programs / 'qemu-system-x86_64'), '-machine', 'q35',
            '-accel', 'tcg', '-cpu', 'max', '-smp', '2', '-m', '768',
            '-nodefaults', '-display', 'none', '-no-reboot',
            '-serial', f'file:{boot.console}',
            '-serial', f'file:{folder}/results', *port,
            '-kernel', str(self.kit / 'vmlinuz'),
            '-initrd', f'{folder}/initrd',
            # The check is whether a timer ticks in time, and panics if a busy
            # host does not let it.
            '-append', 'console=ttyS0 panic=-1 no_timer_check',
            '-qmp', f'unix:{folder}/qmp,server=on,wait=off',
            '-blockdev', ','.join(filter(None, [disk, boot.disk])),
            *devices, *boot.qemu]

    def make_initrd(self, boot, folder):
        """The kit's initramfs followed by one with what this boot is to do."""
        step = folder / 'step'
        step.mkdir()
        (step / 'step.sh').write_text(boot.script)
        (step / 'step.conf').write_text(
            f'DISK={DEVICES[boot.device][1]}\n{boot.variables}')
        (step / 'library.sh').write_text(step_library('relative'))
        if boot.saved.exists():
            shutil.copytree(boot.saved, step / 'saved')
        names = '\n'.join(str(p.relative_to(step)) for p in step.rglob('*'))
        with open(folder / 'initrd', 'wb') as out:
            out.write((self.kit / 'initramfs').read_bytes())
            if boot.fio:
                out.write((GUEST / 'fio' / 'initramfs').read_bytes())
            out.flush()
            subprocess.run(['cpio', '--quiet', '-o', '-H', 'newc'], cwd=step,
                           input=names.encode(), stdout=out, check=True)


class _Running:
    """A boot that is under way."""

    def __init__(self, machine, boot, folder):
        self.boot = boot
        self.folder = folder
        self.results = folder / 'results'
        self.trouble = []
        self.written = 0
        self.end = time.monotonic() + boot.timeout
        machine.make_initrd(boot, folder)
        self.command = machine.command(boot, folder)

    def run(self):
        """From start to end."""
        beside = self._start_meanwhile()
        with open(self.folder / 'output', 'wb') as output, \
                subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                 stdout=output, stderr=output,
                                 cwd=self.boot.image.parent) as process:
            try:
                if self.boot.cut:
                    self._cut(process)
                else:
                    self._wait(process)
            finally:
                process.kill()
        beside_lines = self._finish_meanwhile(beside)
        output = (self.folder / 'output').read_text(errors='replace')
        self.trouble += [f'qemu: {line}' for line in output.splitlines()]
        return self._outcome(beside_lines)

    def _wait(self, process):
        """Until the guest has switched itself off."""
        try:
            status = process.wait(self.end - time.monotonic())
            if status:
                self.trouble.append(f'qemu ended with status {status}')
        except subprocess.TimeoutExpired:
            self.trouble.append(
                f'the guest did not end in {self.boot.timeout} seconds')

    def _cut(self, process):
        """Cut power at a random moment while the guest is at work."""
        while not self._is_at_work():
            if process.poll() is not None:
                self.trouble.append('the guest did not get ready: qemu ended '
                                    f'with status {process.returncode}')
                return
            if time.monotonic() > self.end:
                self.trouble.append('the guest did not get ready')
                return
            time.sleep(0.1)
        time.sleep(random.uniform(0.2, self.boot.cut))
        if process.poll() is not None:
            self.trouble.append('the guest ended before its power was cut, '
                                f'qemu with status {process.returncode}')
            return
        try:
            self.written = self._count_written()
        except (OSError, EOFError) as error:
            self.trouble.append(f'the VM does not answer: {error}')

    def _is_at_work(self):
        """Whether the time to cut power has come."""
        if self.boot.early:
            return self.boot.console.exists() and \
                b'Run /init' in self.boot.console.read_bytes()
        lines = self._said().splitlines()
        return 'ready' in lines and \
            any(line.startswith('add synced S ') for line in lines)

    def _count_written(self):
        """How much the guest has written to the zoned disk."""
        qmp = Qmp(str(self.folder / 'qmp'))
        for disk in qmp.command('query-blockstats'):
            if disk.get('node-name') == 'disk':
                stats = disk['stats']
                return stats['wr_bytes'] + stats['zone_append_bytes']
        return 0

    def _said(self):
        """Whole lines that the guest has sent so far."""
        if not self.results.exists():
            return ''
        said = self.results.read_text(errors='replace')
        return said[:said.rfind('\n') + 1]

    def _outcome(self, beside_lines):
        lines = self._said().splitlines()
        end = re.fullmatch(r'end (\d+)', lines[-1]) if lines else None
        status = 0
        if end:
            status = int(lines.pop().split()[1])
        elif not self.boot.cut:
            self.trouble.append('the guest did not run its script to the end')
        if self.trouble:
            status = 1
            lines += [
                'not ok the guest runs, and ends as it should',
                *[f'# {t}' for t in self.trouble]]
        return Outcome(lines + beside_lines, status, self.written)

    def _start_meanwhile(self):
        """What is to run on the host beside the guest, if anything is."""
        if not self.boot.meanwhile:
            return None
        # pylint: disable-next=consider-using-with
        return subprocess.Popen(
            ['/usr/bin/python3', str(self.boot.meanwhile),
             str(self.folder / 'qmp')],
            cwd=self.boot.image.parent, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True)

    @staticmethod
    def _finish_meanwhile(process):
        """Its result lines, once the VM has ended."""
        if not process:
            return []
        try:
            output, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        lines = output.splitlines()
        if process.returncode:
            lines.append(
                'not ok what runs beside the guest ends without an error')
        return lines
