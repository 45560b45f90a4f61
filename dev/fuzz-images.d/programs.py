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
from typing import IO, Dict, List, Tuple

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


# A line of a report: (start, length, capacity, wp, condition, type)
ReportLine = Tuple[int, int, int, int, int, int]

# Each program that uses coroutines says this once.
HARMLESS = re.compile(r'^==\d+==WARNING: ASan doesn.t fully support '
                      r'makecontext/swapcontext functions.*\n', re.M)


class Trouble(Exception):
    """A program crashed, hung, or broke a bound."""


class Programs:
    """The programs of a build, with sanitizer reports kept in a folder."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary
        self.executions = 0
        self.most_memory = 0

    def environment(self, leaks: bool) -> Dict[str, str]:
        """For a program; with leaks set, it looks for leaks when it ends."""
        reports = self.temporary / 'sanitizer'
        return dict(
            os.environ, LC_ALL='C.UTF-8',
            ASAN_OPTIONS=f'log_path={reports}:detect_leaks={leaks:d}'
                         ':exitcode=99:quarantine_size_mb=8',
            UBSAN_OPTIONS=f'log_path={reports}:halt_on_error=1'
                          ':print_stacktrace=1')

    def take_reports(self) -> str:
        """What sanitizers have reported since the last call."""
        text = ''
        for path in sorted(self.temporary.glob('sanitizer.*')):
            text += path.read_text(errors='replace')
            path.unlink()
        return HARMLESS.sub('', text)

    def check_memory(self, used: int, zones: int) -> None:
        """Whether so many zones account for so many bytes"""
        self.most_memory = max(self.most_memory, used)
        if used > MEMORY + MEMORY_PER_ZONE * zones:
            raise Trouble(f'{used // MIB} MiB of memory used for '
                          f'{zones} zones')

    def run(self, name: str, *words: str, zones: int = 0) -> Tuple[int, str]:
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


def wait(child: 'subprocess.Popen[bytes]'
         ) -> Tuple[int, resource.struct_rusage]:
    """Returns (exit status, resource usage); status below zero: signal."""
    hung = threading.Event()

    def kill() -> None:
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
        raise Trouble(f'{child.args!r} did not end in {TIMEOUT} seconds')
    return child.returncode, usage


class QemuIo:
    """One qemu-io that serves many images, one command at a time."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.commands = 0
        self.transcript: List[str] = []
        programs.executions += 1
        # pylint: disable=consider-using-with  # lives as long as the object
        self.child = subprocess.Popen(
            [programs.folder / 'qemu-io'], env=programs.environment(True),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        assert self.child.stdin and self.child.stdout
        self.stdin: IO[bytes] = self.child.stdin
        self.stdout: IO[bytes] = self.child.stdout
        self._read()

    def _read(self) -> str:
        """What is said up to the next prompt."""
        data = b''
        deadline = time.monotonic() + TIMEOUT
        while not data.endswith(PROMPT.encode()):
            left = deadline - time.monotonic()
            if not select.select([self.stdout], [], [], max(left, 0))[0]:
                raise Trouble(f'qemu-io hung:\n{self.tail(data)}')
            chunk = os.read(self.stdout.fileno(), 1 << 16)
            if not chunk:
                raise Trouble(f'qemu-io died:\n{self.tail(data)}')
            data += chunk
            if len(data) > 16 * OUTPUT:
                raise Trouble(f'qemu-io floods:\n{self.tail(data[:1000])}')
        return data[:-len(PROMPT)].decode(errors='replace')

    def tail(self, data: bytes = b'') -> str:
        """The end of what was said, for a report."""
        said = '\n'.join(self.transcript[-40:])
        return said + data.decode(errors='replace')[-3000:]

    def command(self, line: str) -> str:
        """What qemu-io says to it"""
        self.commands += 1
        self.transcript.append(f'> {line}')
        try:
            self.stdin.write(line.encode() + b'\n')
            self.stdin.flush()
        except BrokenPipeError:
            raise Trouble(f'qemu-io died:\n{self.tail()}') from None
        text = self._read()
        self.transcript.append(text[:2000])
        return text

    def open(self, options: str, read_only: bool) -> str:
        """Returns what it said, which is nothing if all is well."""
        self.transcript.clear()
        self.reset_peak()
        flag = '-r' if read_only else '-t writeback'
        return self.command(f'open {flag} -o {options}')

    def report(self, offset: int, count: int) -> List[ReportLine]:
        """zrp"""
        text = self.command(f'zrp {offset} {count}')
        return [(int(start, 0) * 512, int(length, 0) * 512,
                 int(capacity, 0) * 512, int(wp, 0) * 512, int(cond),
                 int(kind))
                for start, length, capacity, wp, cond, kind in re.findall(
                    r'start: (\w+), len (\w+), cap (\w+), wptr (\w+), '
                    r'zcond:(\d+), \[type: (\d)\]', text)]

    def reset_peak(self) -> None:
        """From now on, another peak of memory is measured."""
        try:
            Path(f'/proc/{self.child.pid}/clear_refs').write_text('5', 'ascii')
        except OSError:         # it died, which will be noticed
            pass

    def check_memory(self, zones: int) -> None:
        """Whether so many zones account for what it has used"""
        status = Path(f'/proc/{self.child.pid}/status').read_text('ascii')
        peak = re.search(r'VmHWM:\s+(\d+) kB', status)
        assert peak, status
        self.programs.check_memory(int(peak[1]) * 1024, zones)

    def end(self) -> None:
        """Quit, and let the leak checker speak."""
        try:
            self.stdin.write(b'quit\n')
            self.stdin.close()
        except BrokenPipeError:
            pass
        status, _ = wait(self.child)
        report = self.programs.take_reports()
        if report:
            raise Trouble(f'qemu-io: sanitizer report:\n{report}')
        # It ends with 1 if its last command failed.
        if status not in (0, 1):
            raise Trouble(f'qemu-io ended with {status}:\n{self.tail()}')

    def abandon(self) -> str:
        """After trouble: the end of it, whatever its state."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.stdin.close()
        self.stdout.close()
        return self.programs.take_reports()
