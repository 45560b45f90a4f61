# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# needs: fio
# minutes: 9
# Jobs of fio, and appends, on the zoned disk and on a raw one take turns; for
# dev/bench.
create_disks
