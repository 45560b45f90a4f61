# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks on a cluster: contestants for dev/bench."""

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Dict, Sequence

from ceph_cluster import POOL, Client, Cluster, environment
from measure import Disk, measure
from project import BASE_VERSION, BUILD
from qemu_io import QemuIo

BUILT = BUILD / f'{BASE_VERSION}-rbd'


class Rbd(Disk):
    """An image on a cluster, zoned or raw; it has all its objects."""

    build = BUILT

    def __init__(self, cluster: Cluster, driver: str, size: int) -> None:
        self.driver = driver
        self.client = cluster.admin
        self.name = f'bench-{driver}'
        cluster.rbd('rm', '--no-progress', self.name, check=False)
        subprocess.run(
            [BUILT / 'bin' / 'qemu-img', 'create', '-q', '-f', driver,
             f'rbd:{POOL}/{self.name}:conf={self.client.conf}', str(size)],
            env=environment(), check=True)
        measure(self, op='write', size=1 << 20, count=size >> 20, direct=True)

    def node(self, delay: bool = False) -> str:
        assert not delay
        return (f'driver={self.driver},{self.below("file.", self.client)},'
                'file.discard=ignore')

    def below(self, prefix: str, client: Client) -> str:
        """Options of the image's own node"""
        return ','.join(f'{prefix}{word}' for word in (
            'driver=rbd', f'pool={POOL}', f'image={self.name}',
            f'conf={client.conf}', f'user={client.user}'))


def requests(disk: Rbd, commands: Sequence[str]) -> Dict[str, int]:
    """What commands of qemu-io ask of the cluster, as its client counts."""
    with TemporaryDirectory() as folder:
        socket = Path(folder) / 'socket'
        conf = Path(folder) / 'ceph.conf'
        conf.write_text(disk.client.conf.read_text(encoding='utf-8') +
                        f'\n[client]\nadmin_socket = {socket}\n',
                        encoding='utf-8')
        node = f'driver={disk.driver},' + disk.below(
            'file.', disk.client._replace(conf=conf))
        with QemuIo(BUILT / 'bin' / 'qemu-io', node, environment()) as shell:
            said = shell.tell(*commands)
            assert 'failed' not in said, said
            return counters(socket)


def counters(socket: Path) -> Dict[str, int]:
    """What the client of a process has done to its image."""
    dump = json.loads(subprocess.run(
        ['ceph', '--admin-daemon', socket, 'perf', 'dump'], check=True,
        env=environment(), stdout=subprocess.PIPE, text=True).stdout)
    image, = (value for name, value in dump.items()
              if name.startswith('librbd-'))
    return {name: image[name] for name in ('wr', 'flush', 'rd', 'discard')}
