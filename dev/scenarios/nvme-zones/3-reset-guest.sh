# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# device: nvme
# A second machine finds what the first one left; its controller is reset.

equal "zones are as they were left, the open ones closed" \
    "$(power_cycled </saved/table)" "$(nvme_table)"
check "what was written is there" \
    nvme compare "$DISK" -s 0x10000 -c 7 -z 4096 -d /saved/written
equal "a descriptor extension is there" 1 \
    "$(zns report-zones 7 -d 1 --extended | grep -c '^0030: 30 .*0000007"$')"
check "open zone 6" zns open-zone 6
check "open zone 0" zns open-zone 0
nvme_table >table
check "reset the controller" nvme reset /dev/nvme0
for _ in 1 2 3 4 5 6 7 8 9 10; do
    nvme_table >/dev/null && break
    sleep 0.5
done
equal "after a reset, open zones are closed, or empty" \
    "$(power_cycled <table)" "$(nvme_table)"
check "a closed zone is written on" nvme write "$DISK" -s 8 -c 7 -z 4096 \
    -d /saved/written
nvme_table | save table
