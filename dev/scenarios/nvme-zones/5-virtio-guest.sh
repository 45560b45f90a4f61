# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The same disk behind virtio-blk

equal "virtio-blk has the same zones" "$(power_cycled </saved/table)" \
    "$(blkzone report "$DISK" | zone_table)"
equal "and the same data" "$(sha256sum </saved/written)" \
    "$(dd if="$DISK" bs=4k skip=8192 count=1 iflag=direct | sha256sum)"
check "a closed zone is written on" dd if=/saved/written of="$DISK" bs=4k seek=2 \
    oflag=direct conv=notrunc
blkzone report "$DISK" | zone_table | save table
