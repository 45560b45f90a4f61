# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# What the file system is known by: on NVMe, the disk for its metadata
F2FS=/dev/vda

make_f2fs() {
    if [ "$F2FS" = "$DISK" ]; then
        mkfs.f2fs -q -f -m "$DISK"
    else
        mkfs.f2fs -q -f -m -c "$DISK" "$F2FS"
    fi
}

mount_f2fs() {
    modprobe f2fs
    mount -t f2fs "$F2FS" /mnt
}

# fsck: it finds nothing, and would repair nothing
fsck() {
    fsck.f2fs -f --dry-run "$F2FS" >fsck && ! grep -E 'Fail|ASSERT|Fix' fsck
}

# collect_garbage: some sections of it
collect_garbage() {
    for _ in 1 2 3 4 5 6 7 8; do
        f2fs_io gc 1 /mnt || true
    done
}

# moved: blocks that garbage collection has moved so far
moved() {
    cat "/sys/fs/f2fs/${F2FS#/dev/}/moved_blocks_foreground" \
        "/sys/fs/f2fs/${F2FS#/dev/}/moved_blocks_background" |
        awk '{ sum += $1 } END { print sum }'
}
