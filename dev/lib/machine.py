# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot of the guest: to the end of its script, or until power is cut.

Needs what dev/lib/guest/kit and, for fio, dev/lib/guest/fio have made. A
kernel that is not Debian's comes from dev/guest.d/own_kernel.py.
"""

import os
import re
import shutil
import subprocess
import termios
import time
from contextlib import ExitStack
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import (
    Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple)

import tap
from project import BUILD
from qmp import Qmp

GUEST = BUILD / 'guest'
KITS = {'stable': GUEST / 'kit', 'newest': GUEST / 'kit-newest'}

TOOLS = ('qemu-img', 'qemu-io')

# How often a VM is started at most, see _is_race_of_tcg()
MAX_STARTS = 3

# How many seconds a kernel that may not work can be silent before it runs init
SILENCE = 60


class Device(NamedTuple):
    """A kind of device that the zoned node `disk` can be behind."""
    arguments: Tuple[str, ...]      # of -device, each
    name: str                       # in the guest


DEVICES: Dict[str, Device] = {
    'virtio-blk': Device(('virtio-blk-pci,id=virtio,drive=disk',), '/dev/vda'),
    'virtio-blk-4k': Device(
        ('virtio-blk-pci,drive=disk,logical_block_size=4096,'
         'physical_block_size=4096',), '/dev/vda'),
    'virtio-blk-stop': Device(
        ('virtio-blk-pci,id=virtio,drive=disk,werror=stop',), '/dev/vda'),
    # For who has an iothread of this name
    'virtio-blk-iothread': Device(
        ('virtio-blk-pci,drive=disk,iothread=io',), '/dev/vda'),
    'scsi': Device(
        ('virtio-scsi-pci,id=scsi', 'scsi-hd,id=hd,drive=disk,bus=scsi.0'),
        '/dev/sda'),
    'scsi-4k': Device(
        ('virtio-scsi-pci', 'scsi-hd,drive=disk,logical_block_size=4096,'
         'physical_block_size=4096'), '/dev/sda'),
    'scsi-512e': Device(
        ('virtio-scsi-pci', 'scsi-hd,drive=disk,physical_block_size=4096'),
        '/dev/sda'),
    'scsi-lsi': Device(('lsi53c895a', 'scsi-hd,drive=disk'), '/dev/sda'),
    'scsi-megasas': Device(('megasas', 'scsi-hd,drive=disk'), '/dev/sda'),
    'scsi-pvscsi': Device(('pvscsi', 'scsi-hd,drive=disk'), '/dev/sda'),
    'scsi-usb': Device(('qemu-xhci', 'usb-storage,drive=disk'), '/dev/sda'),
    'scsi-stop': Device(
        ('virtio-scsi-pci', 'scsi-hd,drive=disk,werror=stop'), '/dev/sda'),
    'nvme': Device(
        ('nvme,id=nvme,serial=zoned', 'nvme-ns,drive=disk,bus=nvme'),
        '/dev/nvme0n1'),
}


class Seen(NamedTuple):
    """How far a guest has come."""
    console: bytes
    lines: List[str]                # whole ones that it has sent so far


def has_booted(seen: Seen) -> bool:
    """Its script begins."""
    return b'Run /init' in seen.console


def is_ready(seen: Seen) -> bool:
    """Its script has said so."""
    return 'ready' in seen.lines


def image_options(image: Path, form: str = '', file: str = '') -> str:
    """
    Of the node of a zoned image: a file, or what has these options of its own;
    in another format, if there is one.
    """
    words, prefix = ['driver=zoned'], 'file.'
    if form:
        words.append(f'{prefix}driver={form}')
        prefix += 'file.'
    below = file or f'driver=file,filename={image}'
    return ','.join([*words, *(prefix + word for word in below.split(','))])


class Kernel:
    """What a guest boots: one of Debian's, known to have all that it needs."""

    own = False                     # it may lack something
    parameters = ''                 # more of them
    settings = ''                   # more variables for the guest's init

    def __init__(self, name: str = 'stable') -> None:
        self.name = name
        self.image = self.kit / 'vmlinuz'
        self.modules: Optional[Path] = self.kit / 'modules'

    @property
    def kit(self) -> Path:
        """Where its tools are."""
        return KITS.get(self.name, KITS['stable'])

    @property
    def version(self) -> str:
        """As `uname -r` says it."""
        return (self.kit / 'version').read_text(encoding='ascii').strip()

    @property
    def symbols(self) -> Optional[Path]:
        """For a debugger"""
        return None

    def prepare(self, devices: Iterable[str], script: str) -> None:
        """For a guest that has such devices, and runs this."""

    def diagnose(self, _console: str) -> List[str]:
        """Why it did not work, if that is seen on the console."""
        return []


class Cut(NamedTuple):
    """When to cut power: so many seconds after the guest has come so far."""
    seconds: float
    after: Callable[[Seen], bool] = is_ready
    counted: bool = False           # say what was written before


class Boot(NamedTuple):
    """What a guest is to be, and to do."""
    image: Path
    script: str
    console: Path
    files: Mapping[str, str] = {}   # in its root: name and text
    saved: Optional[Path] = None    # a folder for it
    device: str = 'virtio-blk'
    fio: bool = False               # it has fio
    tools: bool = False             # it has TOOLS
    disk: str = ''                  # more options of the zoned node
    format: str = ''                # what the image is in
    file: str = ''                  # options of its node, if it is no file
    qemu: Tuple[str, ...] = ()      # more arguments of QEMU
    parameters: str = ''            # more of the kernel's
    says: str = ''                  # what QEMU may print, a regular expression
    variables: str = ''             # more of them for the script
    timeout: float = 180
    # A command that runs beside it, its last argument the folder that has the
    # sockets `qmp` and `word` and the file `results`
    meanwhile: Tuple[str, ...] = ()
    terminal: bool = False          # this one is the port for results
    # The image of a second VM that the guest can move to: it waits for that,
    # does not run by itself then, and has sockets `qmp-there`, `word-there`
    there: Optional[Path] = None
    cut: Optional[Cut] = None


class Outcome(NamedTuple):
    """What came of it."""
    lines: List[str]                # what the guest said, and what went wrong
    status: int                     # 0 if all went as it should
    written: int = 0                # bytes the guest wrote before the cut


def _is_race_of_tcg(boot: Boot, outcome: Outcome) -> bool:
    """
    Whether QEMU aborted while Linux was setting up PCI, as it does now and
    then with two emulated processors: before any disk was used. An access to
    the memory of one device may reach another one, and asserts there.
    """
    return any('Assertion `' in line for line in outcome.lines) and \
        b'Run /init' not in boot.console.read_bytes()


class Machine:
    """A virtual machine with a kernel of its own, and QEMU's programs."""

    def __init__(self, programs: Path, kernel: Optional[Kernel] = None,
                 gdb: bool = False) -> None:
        self.programs = programs
        self.kernel = kernel or Kernel()
        self.gdb = gdb              # it waits for a debugger

    @property
    def env(self) -> Dict[str, str]:
        """For what runs on the host: its programs come first."""
        return dict(os.environ,
                    PATH=f'{self.programs}:{os.environ["PATH"]}')

    def run(self, boot: Boot) -> Outcome:
        """Boot it."""
        for attempt in range(MAX_STARTS):
            with TemporaryDirectory(prefix='zoned-guest-') as name:
                outcome = _Running(self, boot, Path(name)).run()
            if not _is_race_of_tcg(boot, outcome):
                break
            print(f'# QEMU aborted before the guest had a disk, start '
                  f'{attempt + 1} of {MAX_STARTS}', flush=True)
        return outcome

    def commands(self, boot: Boot, folder: Path) -> List[List[str]]:
        """QEMU's arguments, of each VM."""
        commands = [self._command(boot, folder, boot.image)]
        if boot.there:
            commands.append(self._command(boot, folder, boot.there, '-there'))
            commands[-1] += ['-incoming', 'defer', '-S']
        return commands

    @staticmethod
    def _ports(boot: Boot, folder: Path, which: str) -> List[str]:
        """Two serial ports go to files, at the end of them."""
        ports = []
        for name, path in (('console', boot.console),
                           ('results', folder / 'results')):
            if name == 'results' and boot.terminal:
                ports += ['-chardev', 'stdio,id=results,mux=on,signal=off',
                          '-mon', 'chardev=results,mode=readline']
            else:
                ports += ['-chardev',
                          f'file,id={name},path={path},append=on']
            ports += ['-serial', f'chardev:{name}']
        if boot.meanwhile:
            ports += [
                '-chardev',
                f'socket,id=word,path={folder}/word{which},server=on,wait=off',
                '-serial', 'chardev:word']
        return ports

    def _command(self, boot: Boot, folder: Path, image: Path,
                 which: str = '') -> List[str]:
        devices = [word for d in DEVICES[boot.device].arguments
                   for word in ('-device', d)]
        disk = f'node-name=disk,{image_options(image, boot.format, boot.file)}'
        gdb = ['-S', '-gdb', f'unix:path={folder}/gdb{which},server=on,'
               'wait=off'] if self.gdb else []
        # The check is whether a timer ticks in time, and panics if a busy host
        # does not let it.
        parameters = ['console=ttyS0 panic=-1 no_timer_check',
                      *['nokaslr'] * self.gdb, self.kernel.parameters,
                      boot.parameters]
        return [
            str(self.programs / 'qemu-system-x86_64'), '-machine', 'q35',
            '-accel', 'tcg', '-cpu', 'max', '-smp', '2', '-m', '768',
            '-nodefaults', '-display', 'none', '-no-reboot',
            *self._ports(boot, folder, which), *gdb,
            '-kernel', str(self.kernel.image), '-initrd', f'{folder}/initrd',
            '-append', ' '.join(filter(None, parameters)),
            '-qmp', f'unix:{folder}/qmp{which},server=on,wait=off',
            '-blockdev', ','.join(filter(None, [disk, boot.disk])),
            *devices, *boot.qemu]

    def make_initrd(self, boot: Boot, folder: Path) -> None:
        """The kit's initramfs followed by one with what this boot is to do."""
        step = folder / 'step'
        step.mkdir()
        # The port for results is the terminal then.
        results = 'RESULTS=/dev/console\n' if boot.terminal else ''
        files = {'step.sh': boot.script,
                 'step.conf': f'DISK={DEVICES[boot.device].name}\n{results}'
                              f'{self.kernel.settings}{boot.variables}',
                 **boot.files}
        for name, text in files.items():
            (step / name).write_text(text, encoding='utf-8')
        if boot.saved and boot.saved.exists():
            shutil.copytree(boot.saved, step / 'saved')
        if boot.tools:
            self._add_tools(step)
        names = '\n'.join(str(p.relative_to(step)) for p in step.rglob('*'))
        archives = [self.kernel.kit / 'initramfs', self.kernel.modules,
                    GUEST / 'fio' / 'initramfs' if boot.fio else None]
        with open(folder / 'initrd', 'wb') as out:
            for archive in filter(None, archives):
                out.write(archive.read_bytes())
            out.flush()
            subprocess.run(['cpio', '--quiet', '-o', '-H', 'newc'], cwd=step,
                           input=names.encode(), stdout=out, check=True)

    def _add_tools(self, root: Path) -> None:
        """
        QEMU's, with all libraries of this machine that they are linked with:
        the guest's are not the same.
        """
        folder, bin_folder = root / 'tools', root / 'bin'
        folder.mkdir()
        bin_folder.mkdir()
        for name in TOOLS:
            program = folder / name
            subprocess.run(['strip', '-o', program, self.programs / name],
                           check=True)
            linked = subprocess.run(['ldd', program], check=True, text=True,
                                    stdout=subprocess.PIPE).stdout
            for library in re.findall(r'(/\S+) \(0x', linked):
                shutil.copy(library, folder)
            script = bin_folder / name
            script.write_text(
                '#!/bin/sh\nexec /tools/ld-linux-x86-64.so.2 '
                f'--library-path /tools /tools/{name} "$@"\n',
                encoding='ascii')
            script.chmod(0o755)


class _Terminal:
    """That of the user, lent to a guest."""

    def __init__(self) -> None:
        self.attributes = termios.tcgetattr(0)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        # As QEMU does, if it is not ended before
        os.set_blocking(0, True)
        termios.tcsetattr(0, termios.TCSAFLUSH, self.attributes)


class _Watch:
    """Looks whether a kernel still says something before it runs init."""

    def __init__(self, console: Path) -> None:
        self.console = console
        self.size = 0
        self.since = time.monotonic()

    def is_silent(self, seconds: float) -> bool:
        """Whether it has said nothing for so long."""
        said = self.console.read_bytes() if self.console.exists() else b''
        if len(said) > self.size or b'Run /init' in said:
            self.size = len(said)
            self.since = time.monotonic()
        return time.monotonic() - self.since > seconds


class _Running:
    """A boot that is under way."""

    def __init__(self, machine: Machine, boot: Boot, folder: Path) -> None:
        self.machine = machine
        self.boot = boot
        self.folder = folder
        self.results = folder / 'results'
        self.trouble: List[str] = []
        self.written = 0
        # Who works with it has all the time he likes.
        self.end = inf if machine.gdb or boot.terminal else \
            time.monotonic() + boot.timeout
        boot.console.unlink(missing_ok=True)
        machine.make_initrd(boot, folder)

    def run(self) -> Outcome:
        """From start to end."""
        beside = self._start_meanwhile()
        with open(self.folder / 'output', 'wb') as output, \
                ExitStack() as stack:
            if self.boot.terminal:
                stack.enter_context(_Terminal())
            stdin, stdout = (None, None) if self.boot.terminal else (
                subprocess.DEVNULL, output)
            processes = [stack.enter_context(subprocess.Popen(
                command, stdin=stdin, stdout=stdout, stderr=output,
                cwd=self.boot.image.parent))
                for command in self.machine.commands(
                    self.boot, self.folder)]
            if self.machine.gdb:
                self._say_how_to_debug(processes[0])
            try:
                if self.boot.cut:
                    self._cut(processes[0], self.boot.cut)
                else:
                    for process in processes:
                        self._wait(process)
            finally:
                for process in processes:
                    process.kill()
        beside_lines = self._finish_meanwhile(beside)
        said = (self.folder / 'output').read_text(errors='replace')
        self.trouble += [
            f'qemu: {line}' for line in said.splitlines()
            if not self.boot.says or not re.search(self.boot.says, line)]
        return self._outcome(beside_lines)

    def _say_how_to_debug(self, process: 'subprocess.Popen[bytes]') -> None:
        symbols = self.machine.kernel.symbols or 'VMLINUX'
        stub = self.folder / 'gdb'
        while not stub.exists() and process.poll() is None:
            time.sleep(0.05)
        print('# the guest waits for a debugger, which is to continue it:\r\n'
              f"gdb {symbols} -ex 'target remote {stub}'\r", flush=True)

    def _wait(self, process: 'subprocess.Popen[bytes]') -> None:
        """Until the guest has switched itself off."""
        watch = _Watch(self.boot.console)
        silence = min(SILENCE, self.boot.timeout)
        while time.monotonic() < self.end:
            try:
                status = process.wait(min(1, self.end - time.monotonic()))
                if status:
                    self.trouble.append(f'qemu ended with status {status}')
                return
            except subprocess.TimeoutExpired:
                if self.machine.kernel.own and not self.machine.gdb and \
                        watch.is_silent(silence):
                    self.trouble.append(
                        f'the kernel said nothing for {silence} seconds')
                    return
        self.trouble.append(
            f'the guest did not end in {self.boot.timeout} seconds')

    def _cut(self, process: 'subprocess.Popen[bytes]', cut: Cut) -> None:
        """Cut power while the guest is at work."""
        while not cut.after(self._seen()):
            if process.poll() is not None:
                self.trouble.append('the guest did not get ready: qemu ended '
                                    f'with status {process.returncode}')
                return
            if time.monotonic() > self.end:
                self.trouble.append('the guest did not get ready')
                return
            time.sleep(0.1)
        time.sleep(cut.seconds)
        if process.poll() is not None:
            self.trouble.append('the guest ended before its power was cut, '
                                f'qemu with status {process.returncode}')
        elif cut.counted:
            try:
                self.written = self._count_written()
            except (OSError, EOFError) as error:
                self.trouble.append(f'the VM does not answer: {error}')

    def _seen(self) -> Seen:
        console = self.boot.console
        return Seen(console.read_bytes() if console.exists() else b'',
                    self._said())

    def _count_written(self) -> int:
        """How much the guest has written to the zoned disk."""
        stats = Qmp(self.folder / 'qmp').stats()
        return stats['wr_bytes'] + stats['zone_append_bytes']

    def _said(self) -> List[str]:
        """Whole lines that the guest has sent so far."""
        if not self.results.exists():
            return []
        said = self.results.read_text(errors='replace')
        return said[:said.rfind('\n') + 1].splitlines()

    def _console(self) -> str:
        """Without what a terminal wants at the end of a line."""
        console = self.boot.console
        return console.read_text(errors='replace').replace('\r', '') \
            if console.exists() else ''

    def _outcome(self, beside_lines: List[str]) -> Outcome:
        lines = self._said()
        if self.boot.terminal:
            lines = re.findall(r'^end \d+$', self._console(), re.M)
        end = re.fullmatch(r'end (\d+)', lines[-1]) if lines else None
        status = 0
        if end:
            lines.pop()
            status = int(end[1])
        elif not self.boot.cut:
            self.trouble.append('the guest did not run its script to the end')
        if self.trouble:
            status = 1
            self.trouble[:0] = self.machine.kernel.diagnose(self._console())
            lines += tap.lines(False, 'the guest runs, and ends as it should',
                               self.trouble)
        return Outcome(lines + beside_lines, status, self.written)

    def _start_meanwhile(self) -> 'Optional[subprocess.Popen[str]]':
        """What is to run on the host beside the guest, if anything is."""
        if not self.boot.meanwhile:
            return None
        # pylint: disable-next=consider-using-with
        return subprocess.Popen(
            [*self.boot.meanwhile, str(self.folder)],
            cwd=self.boot.image.parent, env=self.machine.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)

    @staticmethod
    def _finish_meanwhile(
            process: 'Optional[subprocess.Popen[str]]') -> List[str]:
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
            lines += tap.lines(
                False, 'what runs beside the guest ends without an error')
        return lines
