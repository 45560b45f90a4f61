# SPDX-License-Identifier: GPL-2.0-or-later
"""Run QEMU's programs and see how they fare: crash, hang, memory, reports."""

import os
import re
import resource
import select
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

PROMPT = 'qemu-io> '
TIMEOUT = 120               # seconds for one command; the machine may be busy
MIB = 1 << 20
# What a program may need or say at most: something for itself, and something
# for each zone that there is.
MEMORY, MEMORY_PER_ZONE = 128 * MIB, 96
OUTPUT, OUTPUT_PER_ZONE = 1 * MIB, 256
# To look for leaks takes as long as all else that qemu-img does, so it does so
# once in so many runs.
LEAKS_EVERY = 4


# Each program that uses coroutines says this once.
HARMLESS = re.compile(r'^==\d+==WARNING: ASan doesn.t fully support '
                      r'makecontext/swapcontext functions.*\n', re.M)


class Trouble(Exception):
    """A program crashed, hung, or broke a bound."""


class Programs:
    """The programs of a build, with sanitizer reports kept in a folder."""

    def __init__(self, folder, temporary):
        self.folder = Path(folder)
        self.temporary = Path(temporary)
        self.executions = 0
        self.most_memory = 0

    def environment(self, leaks):
        """For a program; with leaks set, it looks for leaks when it ends."""
        reports = self.temporary / 'sanitizer'
        return dict(
            os.environ, LC_ALL='C.UTF-8',
            ASAN_OPTIONS=f'log_path={reports}:detect_leaks={leaks:d}'
                         ':exitcode=99:quarantine_size_mb=8',
            UBSAN_OPTIONS=f'log_path={reports}:halt_on_error=1'
                          ':print_stacktrace=1')

    def take_reports(self):
        """What sanitizers have reported since the last call."""
        text = ''
        for path in sorted(self.temporary.glob('sanitizer.*')):
            text += path.read_text(errors='replace')
            path.unlink()
        return HARMLESS.sub('', text)

    def check_memory(self, used, zones):
        self.most_memory = max(self.most_memory, used)
        if used > MEMORY + MEMORY_PER_ZONE * zones:
            raise Trouble(f'{used // MIB} MiB of memory used for '
                          f'{zones} zones')

    def run(self, name, *words, zones=0):
        """Run a program to its end. Returns (exit status, what it said)."""
        self.executions += 1
        leaks = self.executions % LEAKS_EVERY == 0
        with tempfile.TemporaryFile(dir=self.temporary) as out:
            # pylint: disable=consider-using-with  # reaped by wait4()
            child = subprocess.Popen(
                [str(self.folder / name), *words], env=self.environment(leaks),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            status, usage = wait(child)
            size = out.tell()
            out.seek(max(size - OUTPUT, 0))
            text = out.read().decode(errors='replace')
        # What this process has needed itself counts for its children.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if usage.ru_maxrss > own:
            self.check_memory(usage.ru_maxrss * 1024, zones)
        if status < 0:
            raise Trouble(f'{name} ended by signal {-status}:\n{text[-3000:]}')
        report = self.take_reports()
        if report:
            raise Trouble(f'{name}: sanitizer report:\n{report}')
        if size > OUTPUT + OUTPUT_PER_ZONE * zones:
            raise Trouble(f'{name} printed {size} bytes:\n{text[:500]}')
        return status, text


def wait(child):
    """Returns (exit status, resource usage); status below zero: signal."""
    hung = threading.Event()

    def kill():
        hung.set()
        child.kill()

    timer = threading.Timer(TIMEOUT, kill)
    timer.start()
    try:
        _, raw, usage = os.wait4(child.pid, 0)
    finally:
        timer.cancel()
    child.returncode = os.waitstatus_to_exitcode(raw)
    if hung.is_set():
        raise Trouble(f'{child.args[0]} did not end in {TIMEOUT} seconds')
    return child.returncode, usage


class QemuIo:
    """One qemu-io that serves many images, one command at a time."""

    def __init__(self, programs):
        self.programs = programs
        self.commands = 0
        self.transcript = []
        programs.executions += 1
        # pylint: disable=consider-using-with  # lives as long as the object
        self.child = subprocess.Popen(
            [programs.folder / 'qemu-io'], env=programs.environment(True),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self._read()

    def _read(self):
        """What is said up to the next prompt."""
        data = b''
        deadline = time.monotonic() + TIMEOUT
        while not data.endswith(PROMPT.encode()):
            left = deadline - time.monotonic()
            if not select.select([self.child.stdout], [], [], max(left, 0))[0]:
                raise Trouble(f'qemu-io hung:\n{self.tail(data)}')
            chunk = os.read(self.child.stdout.fileno(), 1 << 16)
            if not chunk:
                raise Trouble(f'qemu-io died:\n{self.tail(data)}')
            data += chunk
            if len(data) > 16 * OUTPUT:
                raise Trouble(f'qemu-io floods:\n{self.tail(data[:1000])}')
        return data[:-len(PROMPT)].decode(errors='replace')

    def tail(self, data=b''):
        """The end of what was said, for a report."""
        said = '\n'.join(self.transcript[-40:])
        return said + data.decode(errors='replace')[-3000:]

    def command(self, line):
        self.commands += 1
        self.transcript.append(f'> {line}')
        try:
            self.child.stdin.write(line.encode() + b'\n')
            self.child.stdin.flush()
        except BrokenPipeError:
            raise Trouble(f'qemu-io died:\n{self.tail()}') from None
        text = self._read()
        self.transcript.append(text[:2000])
        return text

    def open(self, options, read_only):
        """Returns what it said, which is nothing if all is well."""
        self.transcript.clear()
        self.reset_peak()
        flag = '-r' if read_only else '-t writeback'
        return self.command(f'open {flag} -o {options}')

    def report(self, offset, count):
        """zrp: a list of (start, length, capacity, wp, condition, type)."""
        text = self.command(f'zrp {offset} {count}')
        return [tuple(int(number, 0) * unit for number, unit in
                      zip(found, (512, 512, 512, 512, 1, 1)))
                for found in re.findall(
                    r'start: (\w+), len (\w+), cap (\w+), wptr (\w+), '
                    r'zcond:(\d+), \[type: (\d)\]', text)]

    def reset_peak(self):
        """From now on, another peak of memory is measured."""
        try:
            Path(f'/proc/{self.child.pid}/clear_refs').write_text('5', 'ascii')
        except OSError:         # it died, which will be noticed
            pass

    def check_memory(self, zones):
        status = Path(f'/proc/{self.child.pid}/status').read_text('ascii')
        peak = int(re.search(r'VmHWM:\s+(\d+) kB', status)[1])
        self.programs.check_memory(peak * 1024, zones)

    def end(self):
        """Quit, and let the leak checker speak."""
        try:
            self.child.stdin.write(b'quit\n')
            self.child.stdin.close()
        except BrokenPipeError:
            pass
        status, _ = wait(self.child)
        report = self.programs.take_reports()
        if report:
            raise Trouble(f'qemu-io: sanitizer report:\n{report}')
        # It ends with 1 if its last command failed.
        if status not in (0, 1):
            raise Trouble(f'qemu-io ended with {status}:\n{self.tail()}')

    def abandon(self):
        """After trouble: the end of it, whatever its state."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()
        return self.programs.take_reports()
