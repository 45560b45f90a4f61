# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
sha256sum disk.zoned >identity
check "the image is known" test -s identity
