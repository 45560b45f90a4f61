# shellcheck shell=sh
# The image is on a file system that has no room for all that the guest writes.

mkdir -p small
check "a small file system" mount -t tmpfs -o size=24m tmpfs small
ln -s small/disk.zoned disk.zoned
check "qemu-img create" qemu-img create -f zoned small/disk.zoned -o size=1G \
    -o zone_size=16M
