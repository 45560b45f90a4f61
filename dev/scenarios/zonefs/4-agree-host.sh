# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The host agrees with the guest. zonefs has no metadata in a file's zone.

check "qemu-img check" qemu-img check disk.zoned
equal "qemu-io reports the guest's zones" "$(power_cycled <saved/table)" \
    "$(qemu-io --image-opts -r driver=zoned,file.driver=file,file.filename=disk.zoned \
        -c 'zrp 0 32' | zone_table)"
check "read the first zones" qemu-img dd -f zoned -O raw if=disk.zoned of=data \
    bs=16M count=3
equal "qemu-img reads the guest's file" "$(cut -d ' ' -f 1 saved/sum)" \
    "$(tail -c +33554433 data | head -c 147456 | sha256sum | cut -d ' ' -f 1)"
rm -f data
