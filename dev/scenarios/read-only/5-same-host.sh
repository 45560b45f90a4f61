# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
check "no bit of the image has changed" sha256sum -c identity
