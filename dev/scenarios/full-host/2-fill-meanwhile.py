"""Makes room whenever the VM has stopped for want of it, and lets it go on."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / 'dev' / 'lib'))
from qmp import Qmp  # noqa: E402, pylint: disable=wrong-import-position

STEP_MIB = 24

# Of the device, so that the guest's writers wait for each other whatever else
# the host does: what waits when the VM stops is sent then, and fails as well.
WRITES_PER_SECOND = 100


def appends(qmp):
    """Zone appends of all disks so far: (all, failed)."""
    stats = [d['stats'] for d in qmp.command('query-blockstats')]
    return (sum(s['zone_append_operations'] for s in stats),
            sum(s['failed_zone_append_operations'] for s in stats))


def limit_writes(qmp):
    """Of the guest's only disk"""
    device, = [d['qdev'] for d in qmp.command('query-block')]
    qmp.command('block_set_io_throttle', id=device, bps=0, bps_rd=0, bps_wr=0,
                iops=0, iops_rd=0, iops_wr=WRITES_PER_SECOND)


def main():
    """Until the VM ends."""
    qmp = Qmp(sys.argv[1])
    limit_writes(qmp)
    size = STEP_MIB
    errors, nospace, stops, counted = 0, 0, 0, (0, 0)
    try:
        while True:
            event = qmp.event()
            if event['event'] == 'BLOCK_IO_ERROR':
                errors += 1
                nospace += event['data'].get('nospace', False)
            elif event['event'] == 'STOP':
                stops += 1
                counted = appends(qmp)
                size += STEP_MIB
                subprocess.run(['mount', '-o', f'remount,size={size}m',
                                'small'], check=True)
                qmp.command('cont')
    except EOFError:
        pass
    print(f'# {stops} stops, {errors} errors, {counted[0]} appends before the '
          f'last stop')
    print('ok' if stops >= 3 else 'not ok',
          'the VM stops when the host has no space')
    print('ok' if errors and errors == nospace else 'not ok',
          'every error is one of space')
    print('ok' if errors > stops else 'not ok',
          'more than one request fails at once')
    print('ok' if counted[0] and not counted[1] else 'not ok',
          'the guest appends, and no append has failed for it')


main()
