# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# zonefs: one file a zone; power cuts.
#
# run: zonefs
# run: nvme-zonefs device=nvme
# run: scsi-zonefs device=scsi

mount_disk() {
    modprobe zonefs
    mount -t zonefs "$DISK" /mnt
}

# append FILE KIBIBYTES
append() {
    dd if=/dev/urandom of="$1" bs=4k count=$(($2 / 4)) iflag=fullblock \
        oflag=append,direct conv=notrunc
}

# only: zonefs scsi-zonefs
host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
        -o zone_size=16M -o zone_nr_conv=2 -o max_open_zones=4 -o max_active_zones=6
}

# only: nvme-zonefs
host_create_namespace() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
        -o zone_size=16M -o max_open_zones=4 -o max_active_zones=6
}

# What is written to a file must be there after unmounting.
#
# only: zonefs scsi-zonefs
guest_write() {
    modprobe zonefs

    check "mkzonefs" mkzonefs "$DISK"
    check "mount" mount -t zonefs "$DISK" /mnt
    equal "a file for each conventional zone but the superblock's" 1 \
        "$(find /mnt/cnv -type f | wc -l)"
    equal "a file for each sequential zone" 30 "$(find /mnt/seq -type f | wc -l)"

    check "append to a file" append /mnt/seq/0 64
    equal "the file has grown" 65536 "$(stat -c %s /mnt/seq/0)"
    check "append again" append /mnt/seq/0 64
    check_fails "no write but at the end" dd if=/dev/zero of=/mnt/seq/0 bs=4k \
        count=1 seek=64 oflag=direct conv=notrunc
    equal "the file is as long as before" 131072 "$(stat -c %s /mnt/seq/0)"
    check "fill a file" append /mnt/seq/1 16384
    check_fails "no write to a full file" append /mnt/seq/1 4
    check "write and truncate a file" append /mnt/seq/2 64
    check "truncate it" truncate -s 0 /mnt/seq/2
    check "write it again" append /mnt/seq/2 32
    check "write the conventional file" dd if=/dev/urandom of=/mnt/cnv/0 bs=4k \
        count=100 seek=7 conv=notrunc,fsync
    (cd /mnt && sha256sum cnv/0 seq/0 seq/1 seq/2) | save sums
    (cd /mnt && stat -c '%n %s' cnv/* seq/*) | save sizes
    check "unmount" umount /mnt
    blkzone report "$DISK" | zone_table | save table
}

# A second machine finds the files.
#
# only: zonefs scsi-zonefs
guest_again() {
    modprobe zonefs

    equal "zones are as they were left, the open ones closed" \
        "$(power_cycled </saved/table)" "$(blkzone report "$DISK" | zone_table)"
    check "mount" mount -t zonefs "$DISK" /mnt
    equal "all files are as long as they were" "$(cat /saved/sizes)" \
        "$(cd /mnt && stat -c '%n %s' cnv/* seq/*)"
    (cd /mnt && check "all files are what they were" sha256sum -c /saved/sums)
    check "append to a file" dd if=/dev/urandom of=/mnt/seq/0 bs=4k count=4 \
        oflag=append,direct conv=notrunc
    (cd /mnt && sha256sum seq/0) | save sum
    check "unmount" umount /mnt
    blkzone report "$DISK" | zone_table | save table
}

# The host agrees with the guest. zonefs has no metadata in a file's zone.
#
# only: zonefs scsi-zonefs
host_agree() {
    check "qemu-img check" qemu-img check disk.zoned
    equal "qemu-io reports the guest's zones" "$(power_cycled <saved/table)" \
        "$(qemu-io --image-opts -r driver=zoned,file.driver=file,file.filename=disk.zoned \
            -c 'zrp 0 32' | zone_table)"
    check "read the first zones" qemu-img dd -f zoned -O raw if=disk.zoned of=data \
        bs=16M count=3
    equal "qemu-img reads the guest's file" "$(cut -d ' ' -f 1 saved/sum)" \
        "$(tail -c +33554433 data | head -c 147456 | sha256sum | cut -d ' ' -f 1)"
    rm -f data
}

# Without conventional zones, the first zone is for the super block all the same.
#
# only: nvme-zonefs
guest_make() {
    modprobe zonefs
    check "mkzonefs" mkzonefs "$DISK"
    check "mount" mount -t zonefs "$DISK" /mnt
    equal "a file for each other zone" 31 "$(find /mnt/seq -type f | wc -l)"
    check "append to a file" dd if=/dev/urandom of=/mnt/seq/0 bs=4k count=16 \
        iflag=fullblock oflag=append,direct conv=notrunc
    equal "the file has grown" 65536 "$(stat -c %s /mnt/seq/0)"
    check_fails "no write but at the end" dd if=/dev/zero of=/mnt/seq/0 bs=4k \
        count=1 seek=64 oflag=direct conv=notrunc
    check "truncate it" truncate -s 0 /mnt/seq/0
    check "unmount" umount /mnt
}

cut_load() {
    load_appends
}

guest_after() {
    mounted_again appends
    unmounted
}
