# SPDX-License-Identifier: GPL-2.0-or-later
"""A map of the zones of a zoned disk, the parts of qemu-zone-map.

model.py        zones, in cells of some each
source.py       where they come from: an image file, QMP
recording.py    a run in a file, and what was in it
screen.py       the map on a terminal
svg.py          the map as a picture
page.py         a recording as a page with a time slider
command.py      the command line
"""
