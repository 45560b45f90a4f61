# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# disk: file.discard=unmap,file.cache.direct=on,file.aio=native
# qemu: -blockdev driver=raw,node-name=second,discard=unmap,file.driver=file,file.discard=unmap,file.filename=disk.raw,file.cache.direct=on,file.aio=native -device nvme-ns,bus=nvme,drive=second,zoned=on,zoned.zone_size=64M

measure given-back "$(namespace 1)" "$(namespace 2)"
