# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugs a zoned disk into the guest and takes it away."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'lib'))
from beside import Beside  # noqa: E402, pylint: disable=wrong-import-position


def plug(beside):
    """As a user would."""
    beside.qmp.command('blockdev-add', **{
        'driver': 'zoned', 'node-name': 'second',
        'file': {'driver': 'file', 'filename': 'second.zoned'}})
    beside.qmp.command('device_add', driver='virtio-blk-pci', id='plugged',
                       bus='slot1', drive='second')


def unplug(beside):
    """The disk goes when the guest has let go of it."""
    beside.qmp.command('device_del', id='plugged')
    while True:
        event = beside.qmp.event()
        if event['event'] == 'DEVICE_DELETED' and \
                event['data'].get('device') == 'plugged':
            break
    beside.qmp.command('blockdev-del', **{'node-name': 'second'})


def main():
    """In step with the guest."""
    beside = Beside()
    for word, action in (('plug the disk', plug),
                         ('unplug the disk', unplug),
                         ('plug it again', plug),
                         ('unplug it while it is written', unplug)):
        beside.wait_for(word)
        beside.go_on()
        action(beside)
    beside.result(True, 'the disk was plugged and unplugged twice')
    beside.wait_end()


main()
