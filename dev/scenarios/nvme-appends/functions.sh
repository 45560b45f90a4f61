# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# too_many ARGUMENTS...: appends of which some must be refused
too_many() {
    nvme-appends write "$@" >appended || {
        cat appended
        return 1
    }
    cat appended
    ! grep -q ', 0 beyond a zone,' appended &&
        ! grep -q ', 0 to a full one$' appended
}

# nr_full: how many zones are full
nr_full() {
    blkzone report "$DISK" | zone_table | grep -c ' 14 2$'
}
