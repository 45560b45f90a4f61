# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe f2fs
check "mkfs.f2fs" mkfs.f2fs -q -f -m "$DISK"
check "mount" mount_f2fs
dd if=/dev/urandom of=data bs=1M count=5 2>/dev/null

# write_files FROM TO
write_files() {
    for i in $(seq "$1" "$2"); do
        tail -c +"$i" data | head -c 2097152 >/mnt/"$i" || return
    done
}

check "fill much of it" write_files 1 200
check "sync" sync -f /mnt
check "remove two of three files" rm $(seq -f /mnt/%.0f 1 3 200) \
    $(seq -f /mnt/%.0f 2 3 200)
check "sync again" sync -f /mnt
check "garbage collection" collect_garbage
check "it has moved blocks" test "$(moved)" -gt 0
check "write again" write_files 301 360
check "sync a third time" sync -f /mnt
for i in $(seq 3 3 200) $(seq 301 360); do
    tail -c +"$i" data | head -c 2097152 | cmp -s - "/mnt/$i" ||
        echo "$i" >>wrong
done
equal "each file is what was written to it" "" "$(cat wrong 2>/dev/null)"
check "unmount" umount /mnt
check "fsck.f2fs finds nothing" fsck
equal_kernel_log
