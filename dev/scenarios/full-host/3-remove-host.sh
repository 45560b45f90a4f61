# shellcheck shell=sh
check "qemu-img check" qemu-img check disk.zoned
check "unmount the small file system" umount small
