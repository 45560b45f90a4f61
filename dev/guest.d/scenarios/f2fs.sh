# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# f2fs: fill, collect garbage; power cuts.
#
# Its metadata is in conventional zones; with an NVMe namespace, which has none,
# on an ordinary disk.
#
# run: f2fs
# run: scsi-f2fs device=scsi minutes=1 F2FS=/dev/sda
# run: nvme-f2fs device=nvme minutes=1 qemu="-drive if=virtio,file=plain.raw,format=raw"

# What the file system is known by: on NVMe, the disk for its metadata
F2FS=${F2FS:-/dev/vda}

make_f2fs() {
    if [ "$F2FS" = "$DISK" ]; then
        mkfs.f2fs -q -f -m "$DISK"
    else
        mkfs.f2fs -q -f -m -c "$DISK" "$F2FS"
    fi
}

mount_disk() {
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

# only: f2fs scsi-f2fs
host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1G \
        -o zone_size=4M -o zone_nr_conv=24 -o max_open_zones=16 \
        -o max_active_zones=16
}

# only: nvme-f2fs
host_create_two() {
    check "the zoned disk" qemu-img create -f zoned disk.zoned -o size=1G \
        -o zone_size=4M -o max_open_zones=16 -o max_active_zones=16
    check "the other" qemu-img create -f raw plain.raw 96M
}

guest_fill() {
    modprobe f2fs
    check "mkfs.f2fs" make_f2fs
    check "mount" mount_disk
    fill_twice 250 8
    check "sync again" sync -f /mnt
    check "garbage collection" collect_garbage
    check "it has moved blocks" test "$(moved)" -gt 0
    check "write again" fill third 250 8
    check "unmount" umount /mnt
    check "fsck.f2fs finds nothing" fsck
    verify_filled
    equal_kernel_log
}

cut_load() {
    load_files 160
    case $((CUT % 2)) in
    0) wait ;;
    1) beside collect_garbage ;;
    esac
}

guest_again() {
    mounted_again files
    unmounted "fsck.f2fs finds nothing" fsck
}
