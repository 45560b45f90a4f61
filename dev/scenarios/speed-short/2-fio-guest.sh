# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# disk: file.discard=ignore,file.cache.direct=on,file.aio=native
# qemu: -blockdev driver=raw,node-name=second,file.driver=file,file.filename=disk.raw,file.cache.direct=on,file.aio=native -device virtio-blk-pci,drive=second
# seconds: 1200
#
# A raw disk is overwritten where it is; so a reset must not give blocks back.

measure figures /dev/vda /dev/vdb 3
