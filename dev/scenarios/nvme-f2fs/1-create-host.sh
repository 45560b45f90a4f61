# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# f2fs on an NVMe namespace and, for its metadata, an ordinary disk; power cuts.
# device: nvme
# qemu: -drive if=virtio,file=plain.raw,format=raw
check "the zoned disk" qemu-img create -f zoned disk.zoned -o size=1G \
    -o zone_size=4M -o max_open_zones=16 -o max_active_zones=16
check "the other" qemu-img create -f raw plain.raw 96M
