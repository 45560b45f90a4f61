# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# fio's own tests of zoned disks (t/zbd/test-zbd-support), on NVMe namespaces.
# device: nvme
# needs: fio
# minutes: 20
check "one whose zones do not hold what they measure" qemu-img create -f zoned \
    capacity.zoned -o size=256M -o zone_size=1M -o zone_capacity=768K
check "one with few open and active zones" qemu-img create -f zoned \
    limits.zoned -o size=256M -o zone_size=1M -o max_open_zones=12 \
    -o max_active_zones=12
