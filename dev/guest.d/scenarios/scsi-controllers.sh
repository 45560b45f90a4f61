# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A zoned SCSI disk behind other controllers than virtio's: those that take a list
# of memory (megasas, pvscsi) and those that take data piece by piece (lsi53c895a,
# usb-storage). The zones stay.
#
# minutes: 1

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1208M \
        -o zone_size=1M -o zone_nr_conv=8
}

# driver NAME: load it, and wait for the disk
driver() {
    modprobe "$1"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -b "$DISK" ] && break
        sleep 0.5
    done
}

# behind NAME FIRST: zones are as they were left; four from FIRST on are written,
# one of each condition
behind() {
    equal "$1: a host-managed disk" host-managed "$(cat "$BLOCK/queue/zoned")"
    blkzone report "$DISK" | zone_table >table
    equal "$1: all zones are reported" 1208 "$(wc -l <table)"
    if [ -f /saved/table ]; then
        equal "$1: zones are as they were left" "$(power_cycled </saved/table)" \
            "$(cat table)"
        equal "$1: and so is the data" "$(cat /saved/sum)" \
            "$(dd if="$DISK" bs=1M skip=8 count=100 | sha256sum)"
    fi
    check "$1: write a zone until it is full" dd if=/dev/urandom of="$DISK" \
        bs=1M seek="$2" count=1 oflag=direct
    check "$1: write another" dd if=/dev/urandom of="$DISK" bs=4k \
        seek=$((($2 + 1) * 256)) count=33 oflag=direct
    check "$1: open one" blkzone open -o $((($2 + 2) * 2048)) -c 1 "$DISK"
    check "$1: finish one" blkzone finish -o $((($2 + 3) * 2048)) -c 1 "$DISK"
    check_fails "$1: a write is refused where there is no write pointer" \
        dd if=/dev/urandom of="$DISK" bs=4k seek=$((($2 + 4) * 256 + 7)) count=1 \
        oflag=direct
    sync "$DISK"
    blkzone report "$DISK" | zone_table | save table
    dd if="$DISK" bs=1M skip=8 count=100 | sha256sum | save sum
}

# device: scsi
guest_virtio() {
    behind virtio-scsi 10
}

# device: scsi-lsi
guest_lsi() {
    driver sym53c8xx
    behind lsi53c895a 20
}

# A command without data is one for an ordinary disk, too. (The first one after a
# reset says that there was one.)
#
# device: scsi-megasas
# qemu: -drive if=none,id=plain,driver=null-co,read-zeroes=on,size=1M -device scsi-hd,drive=plain
guest_megasas() {
    driver megaraid_sas
    behind megasas 30
    modprobe sg
    sg_raw /dev/sdb 00 00 00 00 00 00
    check "megasas: an ordinary disk is ready" sg_raw /dev/sdb 00 00 00 00 00 00
}

# device: scsi-pvscsi
guest_pvscsi() {
    driver vmw_pvscsi
    behind pvscsi 40
}

# device: scsi-usb
guest_usb() {
    driver xhci_pci
    driver usb_storage
    behind usb-storage 50
}
