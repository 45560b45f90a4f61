# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

scrub() {
    btrfs scrub start -B /mnt >/tmp/scrub && grep -q "no errors found" /tmp/scrub
}

# write_files FILE...: each with other contents, from the numbers in their names
write_files() {
    [ -e data ] || dd if=/dev/urandom of=data bs=1M count=5 2>/dev/null
    for file; do
        tail -c +"${file##*/}" data | head -c 4194304 >"$file" || return
    done
}

# files FROM TO STEP: names of files, as words
files() {
    seq -f "/mnt/%.0f" "$1" "$3" "$2"
}
