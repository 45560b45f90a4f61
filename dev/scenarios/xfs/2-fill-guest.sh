# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

check "mkfs.xfs" mkfs.xfs -f -r zoned=1 "$DISK"
check "mount" mount_xfs
dd if=/dev/urandom of=data bs=1M count=9 2>/dev/null

# write_files FROM TO
write_files() {
    for i in $(seq "$1" "$2"); do
        tail -c +"$i" data | head -c 8388608 >/mnt/"$i" || return
    done
}

check "fill half of it" write_files 1 60
check "sync" sync -f /mnt
check "remove every second file" rm $(seq -f /mnt/%.0f 1 2 60)
check "write again, so that zones are reclaimed" write_files 101 150
check "sync again" sync -f /mnt
for i in $(seq 2 2 60) $(seq 101 150); do
    tail -c +"$i" data | head -c 8388608 | cmp -s - "/mnt/$i" ||
        echo "$i" >>wrong
done
equal "each file is what was written to it" "" "$(cat wrong 2>/dev/null)"
check "unmount" umount /mnt
check "xfs_repair finds nothing" xfs_repair -n "$DISK"
equal_kernel_log
