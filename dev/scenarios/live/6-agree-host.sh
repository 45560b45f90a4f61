# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
check "qemu-img check" qemu-img check disk.zoned
check "qemu-img check of the second disk" qemu-img check second.zoned
