# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# How fast the zoned image is, zones in memory being 1: the medians' ratio

# median JOB NAMESPACE, of six
median() {
    sed -n "s/^$1 $2 //p" saved/figures | sort -n |
        awk 'NR == 3 || NR == 4 { sum += $1 } END { print sum / 2 }'
}

for job in one-writer four-writers; do
    ratio=$(awk "BEGIN { printf \"%.3f\", $(median $job 1) / $(median $job 2) }")
    check "$job: $ratio, at least 0.97" \
        awk "BEGIN { exit !($ratio >= 0.97) }"
done
