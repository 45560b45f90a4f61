# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# disk: file.discard=ignore,file.cache.direct=on,file.aio=native
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw,file.cache.direct=on,file.aio=native -device nvme-ns,bus=nvme,drive=second,zoned=on,zoned.zone_size=64M

measure kept "$(namespace 1)" "$(namespace 2)"
