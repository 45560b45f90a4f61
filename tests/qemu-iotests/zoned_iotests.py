# What the tests of the zoned format share: qemu-io sessions, daemons, servers.
# What they know of images is in zoned_format.py.
#
# SPDX-License-Identifier: GPL-2.0-or-later

import enum
import errno
import json
import os
import re
import socket
import struct
import subprocess
import threading
import time
from typing import (Any, Callable, Dict, List, NamedTuple, Optional, Sequence,
                    Tuple, Union)

import iotests
from zoned_format import Cond, SECTOR

GIB = 1 << 30
TIB = 1 << 40


class ZoneType(enum.IntEnum):
    """The type of a zone, as zone reports number it."""
    CONV = 1
    SWR = 2


class Zone(NamedTuple):
    """A line of a zone report, in bytes."""
    start: int
    length: int
    cap: int
    wp: int
    cond: Cond
    type: ZoneType

    @property
    def written(self) -> int:
        """How far the write pointer is from the zone's start."""
        return self.wp - self.start


# A node as blockdev-add has it
Node = Dict[str, Any]

# What the tools say for an errno
_ERRNO_NAMES = {os.strerror(number): name
                for number, name in errno.errorcode.items()}

# What qemu-io says of a request that succeeded
_REPORT = re.compile(r'(read|wrote|discard) \d+/\d+ bytes at offset \d+$|'
                     r'[\d.]+ \w+, \d+ ops; |After zap done, |blkdebug: ')


def options(node: Node, prefix: str = '') -> str:
    """A node as the command line has it (--image-opts)."""
    parts: List[str] = []
    for key, value in node.items():
        items = value
        if isinstance(value, list):
            items = {str(i): item for i, item in enumerate(value)}
        if isinstance(items, dict):
            if items:
                parts.append(options(items, f'{prefix}{key}.'))
        else:
            if isinstance(value, bool):
                value = 'on' if value else 'off'
            parts.append(f'{prefix}{key}=' + str(value).replace(',', ',,'))
    return ','.join(parts)


def file_node(path: str, **more: Any) -> Node:
    """The protocol node of an image file."""
    return {'driver': 'file', 'filename': path, **more}


def zoned_node(child: Union[str, Node], **more: Any) -> Node:
    """A zoned node above a file, or above another node."""
    if isinstance(child, str):
        child = file_node(child)
    return {'driver': 'zoned', 'file': child, **more}


def blkdebug_node(child: Union[str, Node], *errors: Node, **more: Any) -> Node:
    """A file whose requests fail as the rules for inject-error say."""
    if isinstance(child, str):
        child = file_node(child)
    return {'driver': 'blkdebug', 'image': child,
            'inject-error': list(errors), **more}


def failing_later(child: Union[str, Node], *errors: Node) -> Node:
    """
    The same, but the rules hold from the fourth write on: those of the table,
    the header and the head of the log, in front of it, take the image over.
    """
    return blkdebug_node(
        child, *({**error, 'event': 'pwritev', 'state': 4}
                 for error in errors),
        **{'set-state': [{'event': 'pwritev', 'state': n, 'new_state': n + 1}
                         for n in (1, 2, 3)]})


def create(path: str, size: Union[int, str], **opts: Any) -> None:
    """Creates a zoned image; opts are the options of qemu-img create -o."""
    args = ['-f', 'zoned']
    for key, value in opts.items():
        args += ['-o', f'{key}={value}']
    iotests.qemu_img_create(*args, path, str(size))


class Session(iotests.QemuIoInteractive):
    """
    A qemu-io that runs one command after another.  As a context manager, it
    closes the image at the end.
    """

    def __init__(self, image: Union[str, Node], *args: str) -> None:
        self._acks: List[Union[int, str]] = []
        if isinstance(image, str):
            super().__init__(*args, image)
        else:
            super().__init__(*args, '--image-opts', options(image))

    def __enter__(self) -> 'Session':
        return self

    def __exit__(self, *exception: object) -> None:
        if self.running():
            self.close()

    def close(self) -> None:
        """Closes the image and ends the process."""
        try:
            self._p.communicate('q\n', timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        # 1: a command has failed
        assert self._p.returncode in (0, 1), self._p.returncode

    def error(self, command: str) -> Optional[str]:
        """
        Runs a command; what it failed with: the name of an errno, 'pattern'
        for a read that gives other data than expected, or 'read-only'.
        """
        error = None
        for line in self.cmd(command).splitlines():
            match = re.search(r'failed: (.*)$', line)
            if match:
                error = _ERRNO_NAMES[match.group(1)]
            elif line.startswith('Pattern verification failed'):
                error = 'pattern'
            elif line == 'qemu-io: Block node is read-only':
                error = 'read-only'
            else:
                assert _REPORT.match(line), f'{command}: {line}'
        return error

    def ok(self, *commands: str) -> None:
        """Runs commands that must succeed."""
        for command in commands:
            error = self.error(command)
            assert error is None, f'{command}: {error}'

    def start(self, *commands: str) -> None:
        """Starts requests (aio_write, ...), or steers those under way."""
        for command in commands:
            for line in self.cmd(command).splitlines():
                match = re.search(r'(?:failed: (.*)|at offset (\d+))$', line)
                if match and match.group(1):
                    self._acks.append(_ERRNO_NAMES[match.group(1)])
                elif match:
                    self._acks.append(int(match.group(2)))
                else:
                    assert _REPORT.match(line), f'{command}: {line}'

    def acks(self, count: Optional[int] = None) -> List[Union[int, str]]:
        """
        How the started requests have ended since the last call, in this order:
        the offset if it succeeded, or the name of an errno.  Waits for all of
        them; or for a number of them, and a moment for more to follow that
        should not.
        """
        if count is None:
            self.start('aio_flush')
        else:
            deadline = time.monotonic() + 30
            while len(self._acks) < count and time.monotonic() < deadline:
                time.sleep(0.01)
                self.start('zrp 0 0')
            time.sleep(0.1)
            self.start('zrp 0 0')
        acks, self._acks = self._acks, []
        return acks

    def append(self, offset: int, length: int) -> int:
        """Appends to the zone at an offset; where the data landed."""
        output = self.cmd(f'zap -p {offset} {length}')
        match = re.fullmatch(r'After zap done, the append sector is (\w+)\n',
                             output)
        assert match, output
        return int(match.group(1), 16) * SECTOR

    def zones(self, offset: int = 0, count: int = 1000) -> List[Zone]:
        """A zone report."""
        output = self.cmd(f'zrp {offset} {count}')
        assert 'failed' not in output, output
        zones = []
        for line in output.splitlines():
            match = re.fullmatch(r'start: (\w+), len (\w+), cap (\w+), '
                                 r'wptr (\w+), zcond:(\d+), \[type: (\d+)\]',
                                 line)
            assert match, line
            sectors = [int(word, 16) for word in match.groups()[:4]]
            start, length, cap, wptr = [n * SECTOR for n in sectors]
            zones.append(Zone(start, length, cap, wptr,
                              Cond(int(match.group(5))),
                              ZoneType(int(match.group(6)))))
        return zones

    def extensions(self, offset: int, count: int) -> List[bytes]:
        """The descriptor extensions of some zones."""
        output = self.cmd(f'zge {offset} {count}')
        assert 'failed' not in output, output
        return [bytes.fromhex(line) for line in output.splitlines()]

    def states(self, offset: int = 0,
               count: int = 1000) -> List[Tuple[Cond, int]]:
        """The condition of each zone, and how far it is written."""
        return [(z.cond, z.written) for z in self.zones(offset, count)]

    def kill(self) -> None:
        """Ends the process as a crash does."""
        self._p.kill()
        self._p.communicate()

    def running(self) -> bool:
        """Whether the process is there."""
        return self._p.poll() is None


class Daemon(iotests.QemuStorageDaemon):
    """A storage daemon with a QMP monitor."""

    def execute(self, command: str,
                args: Optional[Dict[str, Any]] = None) -> Any:
        """Runs a command that must succeed; what it returns."""
        message = self.qmp(command, args)
        assert 'return' in message, f'{command} {args}: {message}'
        return message['return']

    def refusal(self, command: str,
                args: Optional[Dict[str, Any]] = None) -> str:
        """Runs a command that must fail; what it says."""
        message = self.qmp(command, args)
        assert 'error' in message, f'{command} {args}: {message}'
        desc = message['error']['desc']
        assert isinstance(desc, str)
        return desc

    def add(self, name: str, node: Node) -> None:
        """Adds a node."""
        self.execute('blockdev-add', {'node-name': name, **node})

    def remove(self, name: str) -> None:
        """Removes a node."""
        self.execute('blockdev-del', {'node-name': name})

    def wait_for_job(self, job_id: str) -> Optional[str]:
        """Waits for the end of a job; its error, if it failed."""
        while True:
            job, = self.execute('query-jobs')
            assert job['id'] == job_id
            if job['status'] == 'concluded':
                self.execute('job-dismiss', {'id': job_id})
                return job.get('error')
            time.sleep(0.01)

    def wait_for_event(self, name: str) -> None:
        """Waits for an event."""
        while True:
            event = self.get_qmp().pull_event(wait=10.0)
            assert event
            if event['event'] == name:
                return

    def running(self) -> bool:
        """Whether the process is there."""
        return self._p is not None


class Request(NamedTuple):
    """A request that a server was sent."""
    kind: str               # read, write, flush, discard or zero
    offset: int
    length: int
    data: bytes             # that is written


class HeldRequest:
    """A request that a server keeps back until release()."""

    def __init__(self, kind: str, offset: int, error: int) -> None:
        self.kind = kind
        self.offset = offset
        self.error = error
        self.matched = False
        self._seen = threading.Event()
        self._gate = threading.Event()

    def matches(self, request: Request) -> bool:
        """Whether it is this request; a flush is of no place."""
        return (not self.matched and request.kind == self.kind and
                (request.kind == 'flush' or
                 0 <= self.offset - request.offset < request.length))

    def wait(self) -> None:
        """Waits until the request is there."""
        assert self._seen.wait(30), f'no {self.kind} at {self.offset}'

    def release(self) -> None:
        """Lets the request go on, or fail."""
        self._gate.set()

    def release_later(self) -> None:
        """Does so when others had the time to overtake it."""
        timer = threading.Timer(0.3, self.release)
        timer.start()

    def enter(self) -> None:
        """The server has the request."""
        self._seen.set()
        self._gate.wait(30)


class NbdServer:
    """
    An NBD server for one client and one file.  A test can keep back requests,
    and see what was done in which order.

    While a request is kept back, others may be done, but QEMU's client may not
    see their replies before it has that of the one kept back.
    """
    # pylint: disable=too-many-instance-attributes
    KINDS = {0: 'read', 1: 'write', 3: 'flush', 4: 'discard', 6: 'zero'}

    def __init__(self, address: str, path: str) -> None:
        self.done: List[Request] = []
        # Not buffered, as others may write the file
        # pylint: disable-next=consider-using-with
        self._file = open(path, 'r+b', buffering=0)
        self._size = os.stat(path).st_size
        self._held: List[HeldRequest] = []
        self._lock = threading.Lock()
        self._threads: List[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(1)
        self._client: Optional[socket.socket] = None
        self.node = {'driver': 'nbd',
                     'server': {'type': 'unix', 'path': address}}
        self._spawn(self._serve)

    def hold(self, kind: str, offset: int, error: int = 0) -> HeldRequest:
        """
        Keeps back the next request of a kind that includes byte offset of the
        file.  With an error, it fails when it is released.
        """
        held = HeldRequest(kind, offset, error)
        self._held.append(held)
        return held

    def stop(self) -> None:
        """Ends the server; the client has gone."""
        self._listener.close()
        if self._client:
            self._client.close()
        for held in self._held:
            held.release()
        for thread in self._threads:
            thread.join()
        self._file.close()

    def _spawn(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _receive(self, length: int) -> bytes:
        assert self._client
        data = b''
        while len(data) < length:
            piece = self._client.recv(length - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _send(self, form: str, *values: Any) -> None:
        assert self._client
        self._client.sendall(struct.pack(form, *values))

    def _serve(self) -> None:
        try:
            self._client, _ = self._listener.accept()
            self._negotiate()
            while self._next_request():
                pass
        except (EOFError, OSError):
            pass

    def _negotiate(self) -> None:
        option_magic = 0x49484156454f5054
        self._send('>8sQH', b'NBDMAGIC', option_magic, 3)
        self._receive(4)
        while True:
            _, option, length = struct.unpack('>QII', self._receive(16))
            self._receive(length)
            reply = (0x3e889045565a9, option)
            if option == 7:     # NBD_OPT_GO
                # It can flush, discard and write zeroes.
                flags = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6
                self._send('>QIIIHQH', *reply, 3, 12, 0, self._size, flags)
                self._send('>QIII', *reply, 1, 0)
                return
            self._send('>QIII', *reply, 1 << 31 | 1, 0)

    def _next_request(self) -> bool:
        _, _, kind, cookie, offset, length = struct.unpack(
            '>IHHQQI', self._receive(28))
        if kind not in self.KINDS:
            return False
        data = self._receive(length) if kind == 1 else b''
        request = Request(self.KINDS[kind], offset, length, data)
        for held in self._held:
            if held.matches(request):
                held.matched = True
                self._spawn(self._process_held, request, cookie, held)
                return True
        self._process(request, cookie, 0)
        return True

    def _process_held(self, request: Request, cookie: int,
                      held: HeldRequest) -> None:
        held.enter()
        self._process(request, cookie, held.error)

    def _process(self, request: Request, cookie: int, error: int) -> None:
        data = b''
        with self._lock:
            if not error:
                self._file.seek(request.offset)
                if request.kind == 'read':
                    data = self._file.read(request.length)
                elif request.kind == 'write':
                    self._file.write(request.data)
                elif request.kind in ('discard', 'zero'):
                    self._file.write(bytes(request.length))
                self.done.append(request)
            try:
                self._send('>IIQ', 0x67446698, error, cookie)
                if data:
                    assert self._client
                    self._client.sendall(data)
            except OSError:
                pass


class ZonedTestCase(iotests.QMPTestCase):
    """
    A test with files, qemu-io sessions and storage daemons, which are gone
    when it ends.
    """

    def setUp(self) -> None:
        self.files: List[str] = []
        self.sessions: List[Session] = []
        self.daemons: List[Daemon] = []
        self.servers: List[NbdServer] = []
        self.img = self.path('disk.zoned')
        self.addCleanup(self._clean_up)

    def _clean_up(self) -> None:
        for session in self.sessions:
            if session.running():
                session.close()
        for daemon in self.daemons:
            if daemon.running():
                daemon.stop()
        for server in self.servers:
            server.stop()
        for path in self.files:
            if os.path.exists(path):
                os.remove(path)

    def path(self, name: str) -> str:
        """A file of this test."""
        path = os.path.join(iotests.test_dir, name)
        self.files.append(path)
        return path

    def socket(self, name: str) -> str:
        """A socket of this test."""
        path = os.path.join(iotests.sock_dir, name)
        self.files.append(path)
        return path

    def create(self, size: Union[int, str], **opts: Any) -> None:
        """Makes self.img."""
        create(self.img, size, **opts)

    def io(self, image: Union[None, str, Node] = None,
           args: Sequence[str] = ()) -> Session:
        """A session on an image, self.img if none is named."""
        session = Session(self.img if image is None else image, *args)
        self.sessions.append(session)
        return session

    def daemon(self, *args: str) -> Daemon:
        """A storage daemon."""
        daemon = Daemon(*args, instance_id=str(len(self.daemons)), qmp=True)
        self.daemons.append(daemon)
        return daemon

    def server(self) -> NbdServer:
        """A server for self.img."""
        server = NbdServer(self.socket(f'nbd{len(self.servers)}'), self.img)
        self.servers.append(server)
        return server

    def run_check(self, *args: str, node: Optional[Node] = None
                  ) -> Tuple[int, Dict[str, int], List[str]]:
        """
        qemu-img check of self.img, or of a node: the exit status, the counts
        that are not 0, and what was said.
        """
        if node:
            args += ('--image-opts', options(node))
        else:
            args += ('-f', 'zoned', self.img)
        done = subprocess.run(
            [*iotests.qemu_img_args, 'check', '--output=json', *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True, check=False)
        result = json.loads(done.stdout)
        self.assertEqual(result['format'], 'zoned')
        counts = {key: result[key] for key in
                  ('corruptions', 'corruptions-fixed', 'check-errors',
                   'leaks', 'leaks-fixed')
                  if result.get(key)}
        return done.returncode, counts, done.stderr.splitlines()

    def refusal(self, tool: Sequence[str], *args: str) -> str:
        """
        Runs a tool (iotests.qemu_img_args, ...) that must fail with status 1;
        what it says.
        """
        done = subprocess.run([*tool, *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        return done.stderr.strip()

    def assert_not_opened(self, message: str,
                          node: Optional[Node] = None) -> None:
        """An image (self.img if no node is given) is refused, and why."""
        self.assertEqual(
            self.refusal(iotests.qemu_io_args_no_fmt, '--image-opts',
                         options(node or zoned_node(self.img)), '-c', 'quit'),
            f"qemu-io: can't open: {message}")
