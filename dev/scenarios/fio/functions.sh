# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# run_fio NAME OPTIONS...: one job on the disk
run_fio() {
    name=$1
    shift
    fio --name="$name" --filename="$DISK" --direct=1 --zonemode=zbd \
        --group_reporting --verify_fatal=1 "$@" >"$name" 2>&1 || {
        cat "$name"
        return 1
    }
}

# nr_zones CONDITION: how many zones there are that are in it
nr_zones() {
    blkzone report "$DISK" | zone_table | grep -c " $1 2\$"
}

# at N: where the N-th piece of 2 zones is
at() {
    echo --offset=$(($1 * 8))M --size=8M
}

# write_zones: piece after piece, one of them with a flush at its end
write_zones() {
    for turn in 1 2 3 4 5 6 7 8 9; do
        for piece in $(seq 0 31); do
            echo "add synced R $piece"
            # shellcheck disable=SC2046  # words
            run_fio piece $(at "$piece") --rw=write --ioengine=io_uring \
                --iodepth=8 --bs=32k --end_fsync=1 --verify=crc32c \
                --do_verify=0 --randseed="$SEED$turn" || exit 1
            echo "add synced S $piece"
        done
    done
}

# verify_zones verify <NOTES: pieces that were not written again are there
verify_zones() {
    awk '{ last[$2] = $1 } END { for (p in last) if (last[p] == "S") print p }' |
    while read -r piece; do
        # shellcheck disable=SC2046  # words
        run_fio verify $(at "$piece") --rw=read --ioengine=io_uring \
            --iodepth=8 --bs=32k --verify=crc32c --verify_header_seed=0 ||
            exit 1
        echo "count verified 6291456"
    done
}
