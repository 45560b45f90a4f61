# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# For guests below whose file system all zones fail (all_fail of beside.sh).

# ends_writing: what it has of its own cannot be written, and it lets nobody write
# more. Some have nothing to write until a file was made.
ends_writing() {
    for number in 1 2 3 4 5; do
        sync -f /mnt
        touch /mnt/more.$number || return 0
    done
    return 1
}

# fails_below FILE-SYSTEM DISK: all zones become READ ONLY while it is written
fails_below() {
    check "mount" mount -t "$1" "$2" /mnt
    check "write files" fill first 8 3
    check "sync" sync -f /mnt
    tell_host "all zones fail"
    check_fails "what is written now is not durable" \
        dd if=/dev/urandom of=/mnt/lost bs=1M count=8 conv=fsync
    check "nor is there anything more to be written" ends_writing
    umount /mnt
    tell_host "all zones are back"

    check "mount again" mount -t "$1" "$2" /mnt
    check "what was durable is there" verify first
    check "write again" dd if=/dev/urandom of=/mnt/found bs=1M count=8 conv=fsync
}
