# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The host agrees with the guest.

check "qemu-img check" qemu-img check disk.zoned
equal "qemu-io reports the guest's zones" "$(power_cycled <saved/table)" \
    "$(qemu-io --image-opts -r driver=zoned,file.driver=file,file.filename=disk.zoned \
        -c 'zrp 0 16' | zone_table)"
