# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

loaded
check_synced verify_zones
check "fio writes and verifies all zones" run_fio again --ioengine=io_uring \
    --iodepth=16 --rw=write --bs=64k --size=256M --verify=crc32c
equal_kernel_log
