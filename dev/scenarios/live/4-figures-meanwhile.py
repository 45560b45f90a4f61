# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU counts, throttles and refuses while the guest uses the disk."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'lib'))
from beside import Beside  # noqa: E402, pylint: disable=wrong-import-position

MIB = 1024 * 1024
DEVICE = '/machine/peripheral/virtio/virtio-backend'


def throttle(beside, bytes_per_second):
    """Writes of the disk, by a group of the device."""
    beside.qmp.command('block_set_io_throttle', id=DEVICE, group='slow',
                       bps=0, bps_rd=0, bps_wr=bytes_per_second,
                       iops=0, iops_rd=0, iops_wr=0)


def refuse(beside):
    """What cannot be done says so."""
    said = beside.refused('block_resize', **{'node-name': 'disk',
                                             'size': 1024 * MIB})
    beside.result('does not support resize' in said,
                  f'block_resize is refused: {said}')
    said = beside.qmp.command('human-monitor-command',
                              **{'command-line': 'savevm snapshot'})
    beside.result('does not support snapshots' in said,
                  f'savevm is refused: {said.strip()}')
    said = beside.refused('blockdev-snapshot-internal-sync', device='disk',
                          name='snapshot')
    beside.result('not support' in said,
                  f'an internal snapshot is refused: {said}')


def compare(beside, sectors):
    """QEMU counts as many bytes as the guest."""
    stats = beside.stats()
    written = stats['wr_bytes'] + stats['zone_append_bytes']
    beside.result(written == sectors * 512,
                  f'QEMU has counted the {sectors} sectors that the guest '
                  f'has written ({written // 512})')
    beside.result(stats['zone_append_operations'] > 0,
                  f'{stats["zone_append_operations"]} of them were appends')
    failed = stats['failed_zone_append_operations'] + \
        stats['failed_wr_operations'] + stats['failed_flush_operations']
    beside.result(failed == 0, f'{failed} have failed')


def main():
    """In step with the guest."""
    beside = Beside()
    beside.wait_for('what is refused')
    refuse(beside)
    beside.go_on()
    compare(beside, int(beside.wait_for('sectors')))
    beside.go_on()
    beside.wait_for('throttle writes')
    throttle(beside, 2 * MIB)
    beside.go_on()
    beside.wait_for('throttle no more')
    throttle(beside, 0)
    beside.go_on()
    beside.wait_end()


main()
