# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# image: conv.zoned
# seconds: 1800

run_tests "$(skipped anywhere without-limit)"
