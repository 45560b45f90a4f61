# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# How fast the zoned image is, zones in memory being 1: the median of the rounds

# ratios FIGURES JOB: of each round, from the least to the most
ratios() {
    sed -n "s/^$2 \(left\|right\) /\1 /p" "saved/$1" |
        awk '{ figure[$1] = $2 }
             NR % 2 == 0 { printf "%.3f\n", figure["left"] / figure["right"] }' |
        sort -n
}

for figures in kept given-back; do
    sed 's/ \(left\|right\) .*//' "saved/$figures" | uniq >job-names
    while read -r job; do
        ratios "$figures" "$job" >job-ratios
        ratio=$(awk '{ r[NR] = $1 }
                     END { print (r[int((NR + 1) / 2)] + r[int(NR / 2) + 1]) / 2 }' \
            job-ratios)
        check "blocks $figures, $job: $ratio ($(sed -n 1p job-ratios) to $(
            sed -n '$p' job-ratios)), at least 0.97" \
            awk "BEGIN { exit !($ratio >= 0.97) }"
    done <job-names
done
