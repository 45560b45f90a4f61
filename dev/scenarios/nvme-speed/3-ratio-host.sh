# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# How fast the zoned image is, zones in memory being 1: the median of the rounds

# ratios JOB: of each round, from the least to the most
ratios() {
    sed -n "s/^$1 //p" saved/figures |
        awk '{ figure[$1] = $2 }
             NR % 2 == 0 { printf "%.3f\n", figure[1] / figure[2] }' | sort -n
}

for job in one-writer four-writers; do
    ratio=$(ratios "$job" |
        awk '{ r[NR] = $1 }
             END { print (r[int((NR + 1) / 2)] + r[int(NR / 2) + 1]) / 2 }')
    check "$job: $ratio ($(ratios "$job" | tr '\n' ' ')), at least 0.97" \
        awk "BEGIN { exit !($ratio >= 0.97) }"
done
