# SPDX-License-Identifier: GPL-2.0-or-later
"""What dev/cluster does."""

import argparse
import fcntl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))

# pylint: disable=wrong-import-position
from ceph_cluster import Cluster, ClusterError, OSD_NAMES  # noqa: E402
from project import BUILD  # noqa: E402

BEGAN = time.monotonic()


def say(what: str) -> None:
    """A line with the time that has passed."""
    print(f'[{time.monotonic() - BEGAN:5.1f}s] {what}', flush=True)


def show(cluster: Cluster) -> None:
    """What runs, and how it is."""
    running = cluster.running()
    for name, daemon in cluster.daemons.items():
        print(f'{name}: ' + (f'process {running[name]}' if name in running
                             else 'does not run'), f'({daemon.output})')
    if 'mon.a' in running:
        print(cluster.ceph('status').rstrip())


def number_of(name: str) -> int:
    """That of the OSD with this name."""
    if name not in OSD_NAMES:
        raise ClusterError(f'no such OSD: {name} (they are '
                           f'{", ".join(OSD_NAMES)})')
    return OSD_NAMES.index(name)


def act(args: argparse.Namespace, cluster: Cluster) -> None:
    """What the arguments say."""
    if args.command == 'start':
        cluster.start()
        print(f'conf={cluster.conf}')
    elif args.command == 'stop' and args.remove:
        cluster.remove()
        say('stopped and removed')
    elif args.command == 'stop':
        cluster.stop()
        say('stopped')
    elif args.command == 'status':
        show(cluster)
    elif args.command == 'kill' and args.osd == 'all':
        cluster.kill()
    elif args.command == 'kill':
        cluster.kill_osd(number_of(args.osd))
    else:
        cluster.revive_osd(number_of(args.osd))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser('dev/cluster', add_help=False)
    parser.add_argument('--folder', type=Path, default=BUILD / 'cluster')
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('start')
    commands.add_parser('stop').add_argument('--remove', action='store_true')
    commands.add_parser('status')
    for name in ('kill', 'revive'):
        commands.add_parser(name).add_argument('osd', metavar='osd.N')
    args = parser.parse_args()
    cluster = Cluster(args.folder, say)
    args.folder.parent.mkdir(parents=True, exist_ok=True)
    # One command at a time; it ends with the command.
    with open(f'{cluster.folder}.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            act(args, cluster)
        except ClusterError as error:
            print(f'dev/cluster: {error}', file=sys.stderr)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
