# SPDX-License-Identifier: GPL-2.0-or-later
"""A Ceph cluster on this machine: a monitor, a manager and three OSDs.

All of it is in one folder, and listens on 127.0.0.1. Its processes belong to
whoever starts them: they run on after a command that is not contained, and end
with one that is.

  with Cluster(folder) as cluster:        # an empty one, stopped at the end
      cluster.rbd('create', '--size', '1G', 'disk')
      cluster.kill_osd(0)
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Type

from ceph_files import OSDS, is_free, is_ours, write_files
from daemon import Daemon
from project import BUILD, LIB

OSD_NAMES = [f'osd.{n}' for n in range(OSDS)]
POOL = 'rbd'
# The manager of Debian 13 cannot load its modules (PyO3 in a subinterpreter).
# What they do is for people who look after clusters.
MUTED = 'MGR_MODULE_DEPENDENCY'
PATIENCE = 120          # seconds in which the cluster must be as it should


class ClusterError(Exception):
    """What went wrong, for the user."""


class Client(NamedTuple):
    """Who speaks with the cluster, and how to find it."""

    conf: Path
    user: str           # without `client.`

    def options(self) -> List[str]:
        """For Ceph's tools."""
        return ['--conf', str(self.conf), '--id', self.user]


def environment() -> Dict[str, str]:
    """Without what would have another cluster be used."""
    return {**{name: value for name, value in os.environ.items()
               if not name.startswith('CEPH_')}, 'LC_ALL': 'C.UTF-8'}


def run(*command: str, check: bool = True, timeout: float = PATIENCE) \
        -> 'subprocess.CompletedProcess[str]':
    """A program of Ceph's. What it says is in the exception if it fails."""
    try:
        done = subprocess.run(
            command, env=environment(), stdin=subprocess.DEVNULL, text=True,
            capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f'{" ".join(command)}: no end in {timeout} seconds') from None
    if check and done.returncode:
        raise ClusterError(f'{" ".join(command)}: exit status '
                           f'{done.returncode}\n{done.stderr.strip()}')
    return done


class Cluster:
    """The one in a folder, which runs or not."""

    def __init__(self, folder: Path = BUILD / 'cluster',
                 say: Callable[[str], None] = lambda _what: None) -> None:
        self.folder = folder.resolve()
        self.say = say
        self.admin = Client(self.folder / 'ceph.conf', 'admin')
        self.other = Client(self.folder / 'other' / 'ceph.conf', 'other')
        self.wrong = Client(self.folder / 'wrong' / 'ceph.conf', 'other')
        self.daemons = {name: self._daemon(name)
                        for name in ('mon.a', 'mgr.a', *OSD_NAMES)}

    @property
    def conf(self) -> Path:
        """The configuration of the daemons, and of the administrator."""
        return self.admin.conf

    @property
    def _whole(self) -> Path:
        """Only what was made to its end is used again, and has this file."""
        return self.folder / 'whole'

    def __enter__(self) -> 'Cluster':
        self.remove()
        self.start()
        return self

    def __exit__(self, _kind: Optional[Type[BaseException]],
                 _value: Optional[BaseException],
                 _trace: Optional[TracebackType]) -> None:
        self.stop()

    def _daemon(self, name: str) -> Daemon:
        kind, _, number = name.partition('.')
        return Daemon(
            [f'/usr/bin/ceph-{kind}', '--conf', str(self.conf), '-f', '-i',
             number], self.folder / 'run' / f'{name}.pid',
            self.folder / 'log' / f'{name}.out')

    # The whole of it

    def start(self) -> None:
        """Make it, if there is none; then wait until it is well."""
        subprocess.run([LIB / 'need', 'cluster'], check=True,
                       stdin=subprocess.DEVNULL)
        if self._whole.exists():
            self._start_again()
        else:
            self._start_new()
        self.wait_health()

    def stop(self) -> None:
        """All of it; what it has stored stays."""
        # The monitor notes what the others say at their end.
        self._end(signal.SIGTERM, [*OSD_NAMES, 'mgr.a'])
        self._end(signal.SIGTERM, ['mon.a'])

    def kill(self) -> None:
        """All of it at once, with SIGKILL."""
        self._end(signal.SIGKILL, self.daemons)

    def remove(self) -> None:
        """Stop it, and all that it has stored goes."""
        if not is_ours(self.folder):
            raise ClusterError(f'{self.folder} is not the folder of a cluster')
        self.stop()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def running(self) -> Dict[str, int]:
        """The process of each daemon that runs."""
        found = {name: daemon.pid() for name, daemon in self.daemons.items()}
        return {name: pid for name, pid in found.items() if pid is not None}

    # One of the OSDs

    def kill_osd(self, number: int) -> None:
        """With SIGKILL; wait until the monitor knows."""
        name = OSD_NAMES[number]
        self.daemons[name].kill()
        if not any(other in OSD_NAMES for other in self.running()):
            # The others are who would tell the monitor.
            self.ceph('osd', 'down', name)
        self._wait_for(f'{name}: down',
                       lambda: number not in self.osds_up())

    def revive_osd(self, number: int) -> None:
        """Start it again, and wait until it takes part; not for health."""
        name = OSD_NAMES[number]
        if self.daemons[name].pid() is None:
            # If it has ended just now, the monitor does not know.
            self.ceph('osd', 'down', name)
        self._start_daemon(name)
        self._wait_up([name])

    def osds_up(self) -> List[int]:
        """As the monitor knows it."""
        dump = json.loads(self.ceph('osd', 'dump', '--format', 'json'))
        return [osd['osd'] for osd in dump['osds'] if osd['up']]

    # Tools

    def ceph(self, *args: str) -> str:
        """What `ceph` prints as the administrator."""
        if self.daemons['mon.a'].pid() is None:
            raise ClusterError('the cluster does not run')
        return run('ceph', *self.admin.options(), '--connect-timeout', '30',
                   *args).stdout

    def rbd(self, *args: str, client: Optional[Client] = None,
            check: bool = True, timeout: float = PATIENCE) \
            -> 'subprocess.CompletedProcess[str]':
        """`rbd`, as the administrator or another client."""
        return run('rbd', *(client or self.admin).options(), *args,
                   check=check, timeout=timeout)

    def health(self) -> List[str]:
        """What is not well, as HEALTH_OK would have it."""
        health = json.loads(self.ceph('health', '--format', 'json'))
        return [f'{name}: {check["summary"]["message"]}'
                for name, check in health['checks'].items()
                if not check.get('muted')]

    def wait_health(self, seconds: float = PATIENCE) -> None:
        """Until nothing is wrong, and all placement groups have all copies."""
        self._wait_for('HEALTH_OK', lambda: not self.health() and
                       self._all_clean(), seconds)

    def _all_clean(self) -> bool:
        status = json.loads(self.ceph('status', '--format', 'json'))
        states = status['pgmap'].get('pgs_by_state', [])
        return bool(states) and all(state['state_name'] == 'active+clean'
                                    for state in states)

    # Parts of the above

    def _wait_for(self, what: str, good: Callable[[], bool],
                  seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not good():
            if time.monotonic() > deadline:
                raise ClusterError(
                    f'{what}: not within {seconds} seconds\n' +
                    self.ceph('status') + self.ceph('health', 'detail'))
            time.sleep(0.2)
        self.say(what)

    def _wait_up(self, names: List[str]) -> None:
        """Until the monitor says that these OSDs are up."""
        def are_up() -> bool:
            for name in names:
                if self.daemons[name].pid() is None:
                    raise ClusterError(f'{name} has ended, see its .log and '
                                       f'{self.daemons[name].output}')
            return set(self.osds_up()) >= set(map(OSD_NAMES.index, names))
        self._wait_for(f'{", ".join(names)}: up', are_up)

    def _end(self, number: int, names: Iterable[str]) -> None:
        """Send all of these a signal, and wait until they have ended."""
        told = {name: self.daemons[name].tell(number) for name in names}
        for name, handle in told.items():
            self.daemons[name].wait(handle)

    def _start_daemon(self, name: str) -> None:
        daemon = self.daemons[name]
        if daemon.pid() is None:
            daemon.start(environment())

    def _start_monitor(self) -> None:
        if self.daemons['mon.a'].pid() is not None:
            return
        if not is_free(self._port()):
            raise ClusterError(
                f'port {self._port()}, the monitor\'s, is taken by now. End '
                'what has it, or remove this cluster')
        self._start_daemon('mon.a')
        deadline = time.monotonic() + PATIENCE
        while not self._monitor_answers():
            if self.daemons['mon.a'].pid() is None or \
                    time.monotonic() > deadline:
                raise ClusterError(
                    'the monitor does not run\n' +
                    self.daemons['mon.a'].output.read_text(encoding='utf-8'))
            time.sleep(0.1)
        self.say('the monitor runs')

    def _monitor_answers(self) -> bool:
        """Whether somebody takes connections at its port."""
        with socket.socket() as probe:
            return not probe.connect_ex(('127.0.0.1', self._port()))

    def _port(self) -> int:
        """The monitor's, which stays the same."""
        return int(self._setting('mon_host').split(':')[-1].split('/')[0])

    def _setting(self, name: str) -> str:
        """From the configuration."""
        found = re.search(rf'^{name} = (.*)$',
                          self.conf.read_text(encoding='utf-8'), re.M)
        assert found
        return found[1]

    def _start_again(self) -> None:
        # What was killed, with the monitor, is up for the one that starts.
        fresh = not self.running()
        self._start_monitor()
        if fresh:
            self.ceph('osd', 'down', *OSD_NAMES)
            self.ceph('mgr', 'fail', 'a')
        for name in self.daemons:
            self._start_daemon(name)
        self._wait_up(OSD_NAMES)

    def _start_new(self) -> None:
        self.remove()
        try:
            self._make()
        except BaseException:
            # What is not whole does not run on.
            self.stop()
            raise

    def _make(self) -> None:
        self.folder.mkdir(parents=True)
        write_files(self.folder)
        self._make_monitor()
        ids = [str(uuid.uuid4()) for _ in OSD_NAMES]
        stores = [self._make_osd(number, each)
                  for number, each in enumerate(ids)]
        self._start_monitor()
        self._start_daemon('mgr.a')
        self.ceph('health', 'mute', MUTED, '--sticky')
        for number, each in enumerate(ids):
            self.ceph('osd', 'new', each, str(number))
        for name, store in zip(OSD_NAMES, stores):
            self._finish(name, store)
            self._start_daemon(name)
        self.say('the OSDs have their stores')
        self._wait_up(OSD_NAMES)
        self.ceph('osd', 'pool', 'create', POOL)
        self.rbd('pool', 'init', POOL)
        self.say(f'there is a pool `{POOL}`')
        self._whole.touch()

    def _make_monitor(self) -> None:
        monmap = str(self.folder / 'monmap')
        keys = self.folder / 'all-keys'
        run('monmaptool', '--create', '--fsid', self._setting('fsid'),
            '--addv', 'a', self._setting('mon_host'), monmap)
        run('ceph-mon', '--conf', str(self.conf), '--mkfs', '-i', 'a',
            '--monmap', monmap, '--keyring', str(keys))
        keys.unlink()

    def _make_osd(self, number: int, each: str) -> 'subprocess.Popen[bytes]':
        """Begin to make its store."""
        name = OSD_NAMES[number]
        with open(self.daemons[name].output, 'ab') as output:
            return subprocess.Popen(
                ['ceph-osd', '--conf', str(self.conf), '--no-mon-config',
                 '--mkfs', '-i', str(number), '--osd-uuid', each],
                cwd='/', env=environment(), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output)

    def _finish(self, name: str, store: 'subprocess.Popen[bytes]') -> None:
        if store.wait(PATIENCE):
            raise ClusterError(
                f'{name}: no store\n' +
                self.daemons[name].output.read_text(encoding='utf-8'))
