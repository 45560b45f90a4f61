# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# device: nvme
# needs: fio
# minutes: 20
# seconds: 1200
# fio on a zoned image and on a namespace whose zones are kept in memory take
# turns.
#
# Whether a reset gives blocks of the file back, which are to be found again
# when the zone is written, is a choice of who uses it; both do the same here.
# Both go around the host's page cache: a reset of the image is durable when it
# completes, and would have to wait until all of that is written.
create_disks
