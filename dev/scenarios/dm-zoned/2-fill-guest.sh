# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe dm-zoned
check "dmzadm --format" dmzadm --format "$DISK"
check "dmzadm --start" start
check "mkfs.ext4" mkfs.ext4 -q /dev/dm-0
check "mount" mount_ext4
dd if=/dev/urandom of=data bs=1M count=9 2>/dev/null

# write_files FROM TO
write_files() {
    for i in $(seq "$1" "$2"); do
        tail -c +"$i" data | head -c 8388608 >/mnt/"$i" || return
    done
}

check "write files" write_files 1 40
check "sync" sync -f /mnt
check "remove every second file" rm $(seq -f /mnt/%.0f 1 2 40)
check "write again" write_files 101 115
check "sync again" sync -f /mnt
for i in $(seq 2 2 40) $(seq 101 115); do
    tail -c +"$i" data | head -c 8388608 | cmp -s - "/mnt/$i" ||
        echo "$i" >>wrong
done
equal "each file is what was written to it" "" "$(cat wrong 2>/dev/null)"
check "unmount" umount /mnt
check "fsck.ext4 finds nothing" fsck.ext4 -f -n /dev/dm-0
check "dmzadm --stop" dmzadm --stop "$DISK"
equal_kernel_log
