# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The programs that load a disk notice what is lost or damaged afterwards.

# noticed WHAT COMMAND...: what the command does to a copy of a synced file
noticed() {
    what=$1
    shift
    # The largest
    victim=$(find files -type f -printf '%s %f\n' | sort -rn |
        while read -r _ file; do
            grep -q "^G $file\$" notes || { echo "$file"; break; }
        done)
    cp "files/$victim" keep
    "$@" "files/$victim"
    check_fails "noticed: $what" "$GUEST_KIT/files" verify <notes
    cp keep "files/$victim"
    check "and it is well again" "$GUEST_KIT/files" verify <notes
}

flip() {
    printf 'x' | dd of="$1" bs=1 seek=4200 conv=notrunc 2>/dev/null
}

zero() {
    dd if=/dev/zero of="$1" bs=4096 count=1 conv=notrunc 2>/dev/null
}

swap() {
    dd if="$1" of=block bs=4096 count=1 2>/dev/null
    dd if=block of="$1" bs=4096 seek=1 conv=notrunc 2>/dev/null
}

host_notice() {
    mkdir files
    "$GUEST_KIT/files" write "$PWD/files" 1 4 2 | sed 's/^add synced //' >notes
    check "nothing is damaged" "$GUEST_KIT/files" verify <notes
    check "files were synced, and removed" sh -c 'grep -q ^S notes && grep -q ^G notes'

    noticed "a file is gone" rm
    noticed "a file is too short" truncate -s -4096
    noticed "a file is cut off within a block" truncate -s -1
    noticed "a byte differs" flip
    noticed "a block is zeroes" zero
    noticed "a block is in another's place" swap
}
