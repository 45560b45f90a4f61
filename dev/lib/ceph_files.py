# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a Ceph cluster on this machine: configurations, keys, ports."""

import base64
import os
import random
import socket
import struct
import time
import uuid
from pathlib import Path
from typing import Dict

OSDS = 3
PORTS = 100             # that daemons may listen on, from the monitor's on
# Below those that the kernel gives to clients
FIRST_PORT, LAST_PORT = 10000, 32000

# What each daemon and user of the cluster may do
RBD_USER = {'mon': 'profile rbd', 'mgr': 'profile rbd', 'osd': 'profile rbd'}
CAPS: Dict[str, Dict[str, str]] = {
    'mon.': {'mon': 'allow *'},
    'mgr.a': {'mon': 'allow profile mgr', 'osd': 'allow *', 'mds': 'allow *'},
    **{f'osd.{n}': {'mon': 'allow profile osd', 'mgr': 'allow profile osd',
                    'osd': 'allow *'} for n in range(OSDS)},
    'client.admin': {name: 'allow *' for name in ('mon', 'mgr', 'osd', 'mds')},
    'client.other': RBD_USER,
}

# Of all daemons. What is not as by default saves time and room; a write is
# acknowledged when the OSDs have it where a kill cannot take it away.
HEAD = '# Made by dev/cluster\n'
CONF = HEAD + '''\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{port}/0]
keyring = {folder}/keyring
# Sockets' names may be too long, and nobody uses them.
admin_socket =
auth_allow_insecure_global_id_reclaim = false

# Nothing listens elsewhere.
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
ms_bind_port_min = {first}
ms_bind_port_max = {last}

run_dir = {folder}/run
crash_dir = {folder}/crash
log_file = {folder}/log/$name.log
log_to_stderr = false

# Three copies; with two of them there is I/O.
osd_pool_default_size = 3
osd_pool_default_min_size = 2
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0

[client]
log_file =

[mon]
mon_data = {folder}/$name
mon_cluster_log_file = {folder}/log/cluster.log
mon_allow_pool_delete = true
# That the host's disk is rather full is none of its business.
mon_data_avail_warn = 2
mon_data_avail_crit = 1
# The cluster may have been stopped for weeks.
mon_warn_pg_not_scrubbed_ratio = 0
mon_warn_pg_not_deep_scrubbed_ratio = 0
# One OSD on this one host is enough to say that another is down.
mon_osd_min_down_reporters = 1
mon_osd_reporter_subtree_level = osd
mon_tick_interval = 1
mgr_initial_modules =
paxos_propose_interval = 0.1

[mgr]
mgr_data = {folder}/$name
keyring = {folder}/$name/keyring
mgr_tick_period = 1
mgr_stats_period = 1

[osd]
osd_data = {folder}/$name
keyring = {folder}/$name/keyring
osd_objectstore = bluestore
crush_location = root=default host=local
bluestore_block_size = {block_size}
bluestore_block_preallocate_file = false
# The least that it accepts
osd_memory_target = 939524096
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_heartbeat_interval = 1
osd_heartbeat_grace = 10
osd_recovery_sleep = 0
# A client that was killed is gone so soon, and not after half a minute. They
# say that they are there every five seconds.
osd_client_watch_timeout = 15
# The one that does not measure the disk at the first start
osd_op_queue = wpq
# A host that was slow once is not slow for a day. Older ones do not know this.
bluestore_slow_ops_warn_lifetime = 10
'''

CLIENT_CONF = HEAD + '''\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{port}/0]
keyring = {folder}/keyring
'''

BLOCK_SIZE = 10 << 30   # of each OSD's file, which is sparse


def new_key() -> str:
    """A secret, as Ceph writes it: kind, time, length, and random bytes."""
    secret = os.urandom(16)
    return base64.b64encode(struct.pack(
        '<HIIH', 1, int(time.time()), 0, len(secret)) + secret).decode('ascii')


def keyring(keys: Dict[str, str]) -> str:
    """The text of a file with these."""
    lines = []
    for name, key in keys.items():
        lines += [f'[{name}]', f'key = {key}',
                  *(f'caps {what} = "{caps}"'
                    for what, caps in CAPS[name].items())]
    return '\n'.join(lines) + '\n'


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def free_ports() -> int:
    """The first one of PORTS that are all free."""
    while True:
        first = random.randrange(FIRST_PORT, LAST_PORT - PORTS)
        if all(is_free(port) for port in range(first, first + PORTS)):
            return first


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding='ascii')


def write_client(folder: Path, values: Dict[str, str], key: str) -> None:
    """What another host would have, to be the user `other`."""
    _write_private(folder / 'keyring', keyring({'client.other': key}))
    (folder / 'ceph.conf').write_text(
        CLIENT_CONF.format_map({**values, 'folder': str(folder)}),
        encoding='utf-8')


def is_ours(folder: Path) -> bool:
    """Whether a folder is that of a cluster, or empty, or not there."""
    conf = folder / 'ceph.conf'
    if conf.is_file():
        return conf.read_text(encoding='utf-8').startswith(HEAD)
    return not folder.exists() or folder.is_dir() and \
        not any(folder.iterdir())


def write_files(folder: Path) -> None:
    """All that there is before anything runs."""
    port = free_ports()
    values = {'fsid': str(uuid.uuid4()), 'port': str(port),
              'first': str(port + 1), 'last': str(port + PORTS - 1),
              'folder': str(folder), 'block_size': str(BLOCK_SIZE)}
    keys = {name: new_key() for name in CAPS}
    # This one shows what the folder is, so it is the first.
    (folder / 'ceph.conf').write_text(CONF.format_map(values),
                                      encoding='utf-8')
    for name in ('run', 'crash', 'log', 'mon.a'):
        (folder / name).mkdir()
    _write_private(folder / 'keyring',
                   keyring({'client.admin': keys['client.admin']}))
    _write_private(folder / 'all-keys', keyring(keys))
    for name in ('mgr.a', *(f'osd.{n}' for n in range(OSDS))):
        _write_private(folder / name / 'keyring', keyring({name: keys[name]}))
    write_client(folder / 'other', values, keys['client.other'])
    write_client(folder / 'wrong', values, new_key())
