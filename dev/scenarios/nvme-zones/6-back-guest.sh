# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# device: nvme
# And back

equal "NVMe has the zones that virtio-blk left" \
    "$(power_cycled </saved/table)" "$(nvme_table)"
check "what virtio-blk wrote is there" \
    nvme compare "$DISK" -s 16 -c 7 -z 4096 -d /saved/written
