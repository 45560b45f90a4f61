# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine that is killed while its guest writes to a zoned disk."""

import signal
import subprocess
import time
from pathlib import Path

from planner import Planner

ROOT = Path(__file__).resolve().parent.parent.parent
KIT = ROOT / 'build' / 'guest' / 'kit'
KINDS = {'write': 40, 'fua': 10, 'flush': 4, 'open': 2, 'close': 3,
         'finish': 3, 'reset': 8, 'reset_some': 1}
OPS = 400       # of each of the two in the guest that write, at most
BOOT = 240      # seconds
MAX_STARTS = 3

DEVICE = 'size=4M,zone_size=256K,zone_capacity=192K,max_open_zones=5,' \
    'max_active_zones=8'

FUNCTIONS = '''
# write NUMBER TAG OFFSET SIZE CONVERSION: the tag, again and again
write() {
    yes "$(printf %015d "$2")" | head -c "$4" >"/tmp/data$lane"
    done_by "$1" dd if="/tmp/data$lane" of="$DISK" bs="$4" seek="$3" \\
        oflag=direct,seek_bytes conv="notrunc$5" status=none
}
# flush NUMBER
flush() {
    done_by "$1" dd if=/dev/null of="$DISK" conv=notrunc,fsync status=none
}
# zone NUMBER ACTION SECTOR SECTORS: one at a time, as it wants the disk alone
zone() {
    while ! mkdir /tmp/lock 2>/dev/null; do sleep 0.01; done
    done_by "$1" blkzone "$2" -o "$3" -l "$4" "$DISK"
    rmdir /tmp/lock
}
# done_by NUMBER COMMAND...: says when it begins, and when it has succeeded
done_by() {
    number=$1
    shift
    echo "begin $number" >&3
    if said=$("$@" 2>&1); then
        echo "ack $number" >&3
    else
        echo "fail $number $said" >&3
    fi
}
'''


def make_data(number, size):
    return b'%015d\n' % number * (size // 16)


def command(header, number, op):
    if op.kind == 'write':
        conversion = ',fsync' if op.fua else ''
        # What it writes follows from the number it was planned with.
        tag = int(op.data[:15])
        return f'write {number} {tag} {op.offset} {len(op.data)} {conversion}'
    if op.kind == 'flush':
        return f'flush {number}'
    start = header.start(op.first)
    size = header.limit(op.last) - start
    return f'zone {number} {op.kind} {start // 512} {size // 512}'


class GuestRound:
    """Two processes of the guest, each with zones of its own."""

    name = 'virtual machine'

    def __init__(self, rng, programs, path, history):
        self.rng = rng
        self.history = history
        self.planned = []
        self.folder = Path(path).parent
        self.results = self.folder / 'results'
        self.results.write_bytes(b'')
        initrd = self._make_initrd(self._make_script())
        devices = ['virtio-blk-pci,drive=disk']
        if rng.random() < 0.5:
            devices = ['virtio-blk-pci,drive=disk,iothread=io']
        self.command = [
            str(programs / 'qemu-system-x86_64'), '-machine', 'q35',
            '-accel', 'tcg', '-cpu', 'max', '-smp', '2', '-m', '512',
            '-nodefaults', '-display', 'none', '-no-reboot',
            '-serial', f'file:{self.folder}/console',
            '-serial', f'file:{self.results}',
            '-kernel', str(KIT / 'vmlinuz'), '-initrd', str(initrd),
            '-append', 'console=ttyS0 panic=-1',
            '-object', 'iothread,id=io',
            '-blockdev', 'driver=zoned,node-name=disk,file.driver=file,'
            f'file.filename={path}',
            *[word for d in devices for word in ('-device', d)]]

    def _make_script(self):
        count = self.history.header.nr_zones
        limits = (self.history.header.max_open // 2,
                  self.history.header.max_active // 2)
        lines = [FUNCTIONS]
        for lane, zones in enumerate((range(count // 2),
                                      range(count // 2, count))):
            planner = Planner(self.rng, self.history, KINDS, make_data,
                              unit=4096, zones=zones, largest=32768,
                              limits=limits)
            planner.number = lane * OPS
            lines += ['(', f'lane={lane}', *self._plan(planner), ') &']
        # The one who kills waits for this.
        return '\n'.join(['echo ready >&3', *lines, 'wait', 'sleep 1000', ''])

    def _plan(self, planner):
        for _ in range(OPS):
            op = planner.next()
            # One after the other
            planner.settled()
            yield command(self.history.header, len(self.planned), op)
            self.planned.append(op)

    def _make_initrd(self, script):
        """The kit's initramfs, followed by one with the script."""
        step = self.folder / 'step'
        step.mkdir(exist_ok=True)
        (step / 'step.sh').write_text(script, encoding='ascii')
        (step / 'step.conf').write_text('DISK=/dev/vda\n', encoding='ascii')
        initrd = self.folder / 'initrd'
        with open(initrd, 'wb') as out:
            out.write((KIT / 'initramfs').read_bytes())
            out.flush()
            subprocess.run(['cpio', '--quiet', '-o', '-H', 'newc'], cwd=step,
                           input=b'step.sh\nstep.conf\n', stdout=out,
                           check=True)
        return initrd

    def run(self):
        for attempt in range(MAX_STARTS):
            with subprocess.Popen(self.command,
                                  stdin=subprocess.DEVNULL) as child:
                ready = self._is_ready(child)
                if ready:
                    time.sleep(self.rng.uniform(0.1, 8))
                aborted = child.poll() == -signal.SIGABRT
                child.kill()
            console = (self.folder / 'console').read_text(errors='replace')
            if not aborted or 'Run /init' in console:
                break
            # A race of multi-threaded TCG, see dev/guest.d/machine.py
            print(f'# QEMU aborted before the guest had a disk, start '
                  f'{attempt + 1} of {MAX_STARTS}', flush=True)
        if aborted or not ready:
            self.history.fail(f'the guest does not run: {console[-1000:]}')
        self._read_results()

    def _is_ready(self, child):
        deadline = time.monotonic() + BOOT
        while time.monotonic() < deadline and child.poll() is None:
            if b'ready' in self.results.read_bytes():
                return True
            time.sleep(0.05)
        return False

    def _read_results(self):
        text = self.results.read_text(errors='replace')
        for line in text.splitlines(keepends=True):
            words = line.split()
            if not line.endswith('\n') or len(words) < 2:
                continue
            op = self.planned[int(words[1])]
            if words[0] == 'begin':
                self.history.begin(op)
            elif words[0] == 'ack':
                self.history.ack(op)
            else:
                self.history.fail(f'{op}: {line.strip()}')
