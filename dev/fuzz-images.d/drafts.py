# SPDX-License-Identifier: GPL-2.0-or-later
"""Valid images of many shapes, and damage to them.

A draft is an image that is not yet in a file: the bytes up to the end of its
zone table, a log, pieces of data, and a length, which may be many terabytes.
"""

import copy
import os
import struct
from array import array
from pathlib import Path
from random import Random
from typing import List, Optional, Sequence, Tuple

from zoned_image import (
    ALIGNMENT, CLOSED, DATA_ALIGNMENT, EMPTY, EOPEN, EXT_BIT, FIELDS, FULL,
    Header, IOPEN, Invalid, LOG_BLOCK, MAX_EXTENSION_SIZE, MAX_LOG_BLOCKS,
    MAX_SIZE, MAX_SIZE_EXTENDED, MAX_ZONES, NOT_WP, OFFLINE, RDONLY, SECTOR,
    SHORT_FILE, Zone, crc32c, fix_checksum, get_field, log_checksum, set_field)

KIB, MIB = 1 << 10, 1 << 20
# What file systems let a file have; the temporary one lets it have more.
LARGE_FILE = 1 << 43


class Draft:
    """An image that is not yet in a file"""
    # pylint: disable=too-many-instance-attributes

    def __init__(self, raw: bytearray, length: int,
                 pieces: List[Tuple[int, bytes]],
                 log: bytes = b'') -> None:
        self.raw = raw              # the image up to some point
        self.log = bytearray(log)   # the blocks of the log that are not zero
        self.log_offset: int = get_field(raw, 'log_offset')
        self.length = length
        self.pieces = pieces        # [(offset, bytes)]
        self.base = 0               # where the image starts in its file
        self.opt_len: Optional[int] = None  # option len, if it is given
        self.damage: List[str] = []         # what was done to it

    def write(self, path: Path) -> None:
        """Make the file"""
        with open(path, 'wb') as f:
            for offset, data in [(0, self.raw), (self.log_offset, self.log),
                                 *self.pieces]:
                if offset < self.length:
                    f.seek(self.base + offset)
                    f.write(data[:self.length - offset])
            f.truncate(self.base + self.length)
        # Anything that writes the file will change this.
        os.utime(path, ns=(10**18, 10**18))


# What a device is: its size, zone size, capacity and conventional zones
Geometry = Tuple[int, int, int, int]


# Shapes

def random_geometry(rng: Random) -> Geometry:
    """A device that is small enough to be written to."""
    zone_size = rng.choice([4, 4, 8, 12, 16, 20, 64, 64, 128, 256]) * KIB
    nr_zones = rng.choice([1, 2, 3, 4, 7, 8, 16, 16, 33, 511, 512, 513])
    runt = rng.randrange(0, zone_size, ALIGNMENT) if rng.random() < 0.4 else 0
    # A device is no smaller than a zone.
    size = nr_zones * zone_size - (runt if nr_zones > 1 else 0)
    capacity = zone_size
    if rng.random() < 0.5:
        capacity = rng.randrange(ALIGNMENT, zone_size + 1, ALIGNMENT)
    nr_conv = rng.choice([0, 0, 1, 2, nr_zones // 2, nr_zones])
    return size, zone_size, capacity, min(nr_conv, nr_zones)


def extreme_geometry(rng: Random) -> Geometry:
    """A device as large as it may be, or with as many zones."""
    zone_size = ALIGNMENT << rng.choice([0, 1, 4, 20, 30, 40, 44, 45, 46])
    zone_size += rng.choice([0, 0, 0, ALIGNMENT])
    # Few of the images that take seconds to look at.
    most = rng.choice([1, 2, 64, 64, 512, 512, 4096])
    if rng.random() < 0.03:
        most = rng.choice([1 << 16, 1 << 16, MAX_ZONES])
    size = min(most * zone_size, MAX_SIZE)
    size = max(size - rng.choice([0, 0, ALIGNMENT]), ALIGNMENT)
    zone_size = min(zone_size, size)
    capacity = rng.choice([zone_size, ALIGNMENT,
                           zone_size // 2 // ALIGNMENT * ALIGNMENT])
    nr_zones = -(-size // zone_size)
    nr_conv = rng.choice([0, 0, 0, 1, nr_zones])
    return size, zone_size, max(capacity, ALIGNMENT), nr_conv


def random_limits(rng: Random) -> Tuple[int, int]:
    """Of open and active zones"""
    if rng.random() < 0.4:
        return 0, 0
    active = rng.choice([0, 1, 2, 3, 8, 14, 0xffffffff])
    return rng.randint(0, min(active, 10) or 10), active


def random_extensions(rng: Random, size: int,
                      table_end: int) -> Tuple[int, int]:
    """The size of descriptor extensions, and where they are."""
    if rng.random() < 0.6 or size > MAX_SIZE_EXTENDED:
        return 0, 0
    return (64 * rng.choice([1, 1, 2, 3, 8, MAX_EXTENSION_SIZE // 64]),
            table_end + ALIGNMENT * rng.choice([0, 0, 0, 1, 300]))


def make_header(rng: Random, geometry: Geometry) -> bytearray:
    """The bytes of a valid header."""
    size, zone_size, capacity, nr_conv = geometry
    nr_zones = -(-size // zone_size)
    max_open, max_active = random_limits(rng)
    table = ALIGNMENT * rng.choice([1, 1, 1, 1, 1, 2, 256])
    table_end = table + -(-nr_zones * 8 // ALIGNMENT) * ALIGNMENT
    extension_size, extension_offset = random_extensions(rng, size, table_end)
    if extension_size:
        table_end = extension_offset + nr_zones * extension_size
    log_blocks = rng.choice([0, 2, 3, 5, 16, 128, 128, 128, MAX_LOG_BLOCKS])
    log = -(-table_end // ALIGNMENT) * ALIGNMENT
    log += ALIGNMENT * rng.choice([0, 0, 0, 1, 17])
    table_end = log + log_blocks * LOG_BLOCK
    data = -(-table_end // DATA_ALIGNMENT) * DATA_ALIGNMENT
    data += DATA_ALIGNMENT * rng.choice([0, 0, 0, 0, 1, 5])
    if rng.random() < 0.5:
        log = data - log_blocks * LOG_BLOCK
    raw = bytearray(512)
    for name, value in {
            'magic': b'zone', 'version': 1, 'length': 512,
            'size': size, 'zone_size': zone_size, 'zone_capacity': capacity,
            'nr_zones': nr_zones, 'nr_conv': nr_conv,
            'nr_seq': nr_zones - nr_conv, 'max_open': max_open,
            'max_active': max_active, 'model': 1,
            'max_append_sectors': rng.choice([0, 8, 2048, 2048, 0xffffffff]),
            'incompatible': SHORT_FILE if rng.random() < 0.25 else 0,
            'compatible': rng.choice([0, 0, 0, rng.getrandbits(64)]),
            'autoclear': rng.choice([0, 0, 0, rng.getrandbits(64)]),
            'extension_size': extension_size,
            'extension_offset': extension_offset,
            'log_offset': log if log_blocks else 0, 'log_blocks': log_blocks,
            'table_offset': table, 'data_offset': data}.items():
        set_field(raw, name, value)
    fix_checksum(raw)
    return raw


def random_zone(rng: Random, header: Header, i: int, budget: int) -> Zone:
    """A zone in any condition; at most budget more may be active."""
    if header.is_conv(i):
        return Zone(NOT_WP, header.limit(i))
    start, limit = header.start(i), header.cap_limit(i)
    cond: int = rng.choice([EMPTY, EMPTY, EMPTY, IOPEN, EOPEN, CLOSED, CLOSED,
                            FULL, FULL, RDONLY, OFFLINE])
    end = rng.choice([start, limit, rng.randint(start, limit),
                      rng.randint(start, limit)]) // SECTOR * SECTOR
    if cond == EMPTY:
        end = start
    elif cond in (IOPEN, EOPEN, CLOSED):
        end = min(end, limit - SECTOR) if budget > 0 else start
    extended = (header.extension_size > 0 and cond != EMPTY
                and rng.random() < 0.4
                and (budget > 0 or cond not in (IOPEN, EOPEN, CLOSED)))
    return Zone(cond, end, extended)


def make_table(rng: Random, header: Header) -> 'array[int]':
    """The bytes of a valid zone table."""
    table = header.fresh_table()
    budget = header.max_active or header.nr_zones
    for i in rng.sample(range(header.nr_zones), min(header.nr_zones, 64)):
        zone = random_zone(rng, header, i, budget)
        budget -= header.is_active(i, zone)
        table[i] = header.encode(i, zone)
    return table


# Of a record: (zone, number of zones, entry), (address, length, checksum)
Runs = List[Tuple[int, int, int]]
Sums = List[Tuple[int, int, int]]


def make_runs(rng: Random, header: Header, table: 'array[int]') -> Runs:
    """Changes of some zones, which are made in the table."""
    runs: Runs = []
    budget = header.max_active or header.nr_zones
    for i, raw in enumerate(table[:4096]):
        zone = header.decode(i, raw)
        assert zone, i
        budget -= header.is_active(i, zone)
    following = 0
    for i in sorted(rng.sample(range(header.nr_zones),
                               min(header.nr_zones, rng.randint(0, 9)))):
        old = header.decode(i, table[i])
        if i < following or i >= 4096 or header.is_conv(i) or not old:
            continue
        room = budget + header.is_active(i, old)
        zone = random_zone(rng, header, i, room)
        budget = room - header.is_active(i, zone)
        runs.append((i, 1, header.encode(i, zone)))
        following = i + 1
        if zone.cond == EMPTY and rng.random() < 0.3:
            count = rng.randint(1, header.nr_zones - i)
            runs[-1] = i, count, runs[-1][2]
            following = i + count
        for j in range(i, following):
            table[j] = runs[-1][2] + (j - i) * header.zone_size
    return runs


def make_sums(rng: Random, header: Header,
              pieces: Sequence[Tuple[int, bytes]]) -> Sums:
    """Of data that is there"""
    sums = []
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        offset, data = rng.choice(pieces) if pieces and rng.random() < 0.8 \
            else (header.data_offset + rng.randrange(header.size), b'')
        start = (offset - header.data_offset) // SECTOR * SECTOR
        if header.is_conv(start // header.zone_size):
            continue
        length = min(SECTOR * rng.choice([1, 1, 2, 8, 100]),
                     header.size - start)
        content = (data[:length] + bytes(length))[:length] if data else \
            device_bytes(header, pieces, start, length)
        sums.append((start, length, crc32c(content)))
    return sums


def device_bytes(header: Header, pieces: Sequence[Tuple[int, bytes]],
                 start: int, length: int) -> bytes:
    """What is in the data area, by the pieces that make it"""
    content = bytearray(length)
    where = header.data_offset + start
    for offset, data in pieces:
        first, last = max(offset, where), min(offset + len(data),
                                              where + length)
        if first < last:
            content[first - where:last - where] = data[first - offset:
                                                       last - offset]
    return bytes(content)


def pack_head(epoch: int) -> bytearray:
    """The head of a log"""
    raw = bytearray(struct.pack('<4sIQ', b'zlog', 0, epoch) + bytes(496))
    struct.pack_into('<I', raw, 4, log_checksum(raw))
    return raw


def pack_record(epoch: int, block: int, runs: Runs, sums: Sums) -> bytes:
    """A record of whole blocks"""
    length = 40 + 16 * (len(runs) + len(sums))
    raw = bytearray(struct.pack('<4sIQIIIIQ', b'zrec', 0, epoch, block, length,
                                len(runs), len(sums), 0)
                    + b''.join(struct.pack('<IIQ', *run) for run in runs)
                    + b''.join(struct.pack('<QII', *s) for s in sums))
    struct.pack_into('<I', raw, 4, log_checksum(raw))
    return bytes(raw) + bytes(-length % LOG_BLOCK)


def make_tail(rng: Random, epoch: int, block: int) -> bytes:
    """What is behind the last record"""
    stale = rng.choice([epoch - 1, epoch + 1, max(epoch - 7, 0)])
    return rng.choice([
        b'', b'', bytes(LOG_BLOCK),
        bytes(rng.randrange(256) for _ in range(99)),
        pack_record(stale, block, [(0, 1, rng.getrandbits(64))], []),
        # What comes behind a hole was not written behind what is there.
        bytes(LOG_BLOCK) + pack_record(epoch, block + 1,
                                       [(0, 1, rng.getrandbits(64))], []),
        pack_record(epoch, block, [], [])[:rng.randrange(40)]])


def make_log(rng: Random, header: Header, records: List[Runs],
             pieces: Sequence[Tuple[int, bytes]]) -> bytearray:
    """The bytes of a log with these records."""
    epoch = rng.choice([1, 1, 2, 1 + rng.getrandbits(62)])
    log = pack_head(epoch) + bytes(LOG_BLOCK - 512)
    for i, runs in enumerate(records):
        sums = make_sums(rng, header, pieces)
        if sums and (i < len(records) - 1 or rng.random() < 0.1):
            sums[0] = *sums[0][:2], rng.getrandbits(32)
        log += pack_record(epoch, len(log) // LOG_BLOCK, runs, sums)
    log += make_tail(rng, epoch, len(log) // LOG_BLOCK)
    del log[header.log_blocks * LOG_BLOCK:]
    return log


def make_data(rng: Random, header: Header,
              table: Sequence[int]) -> List[Tuple[int, bytes]]:
    """Something to read in some of the zones."""
    pieces = []
    for i in range(min(header.nr_zones, 16)):
        zone = header.decode(i, table[i])
        assert zone, i
        size = min(zone.end - header.start(i), 64 * KIB)
        if size > 0:
            pieces.append((header.data_offset + header.start(i),
                           bytes([rng.randrange(1, 256)]) * size))
    return pieces


def make_length(rng: Random, header: Header, table: Sequence[int]) -> int:
    """A length that suffices, the least one in most cases."""
    least = header.least_length
    if header.incompatible & SHORT_FILE and header.nr_zones <= 4096:
        for i, raw in enumerate(table):
            zone = header.decode(i, raw)
            assert zone, i
            if zone.end > header.start(i):
                least = max(least, header.data_offset + zone.end)
    return least + rng.choice([0, 0, 0, 0, 512, 4096, MIB])


def make_draft(rng: Random) -> Draft:
    """A valid image; it may be larger than the file system allows."""
    extreme = rng.random() < 0.15
    geometry = (extreme_geometry if extreme else random_geometry)(rng)
    raw = make_header(rng, geometry)
    if extreme and rng.random() < 0.9:
        set_field(raw, 'incompatible', SHORT_FILE)
        fix_checksum(raw)
    header = Header(raw)
    table = header.fresh_table() if extreme and rng.random() < 0.5 else \
        make_table(rng, header)
    whole = bytearray(header.table_offset) + table.tobytes()
    whole[:512] = raw
    records: List[Runs] = []
    length = make_length(rng, header, table)
    if header.nr_zones <= 4096:
        count = rng.choice([0, 1, 1, 2, 7])
        for _ in range(min(header.log_blocks - 1, count)):
            records.append(make_runs(rng, header, table))
            # The last record may not count.
            length = max(length, make_length(rng, header, table))
    pieces = make_data(rng, header, table)
    log = make_log(rng, header, records, pieces) if header.log_blocks else b''
    return Draft(whole, length, pieces, log)


def read_draft(path: Path) -> Draft:
    """An image that the driver has made."""
    with open(path, 'rb') as f:
        data = f.read()
    header = Header(data)
    end = header.table_offset + header.nr_zones * 8
    log_end = header.log_offset + header.log_blocks * LOG_BLOCK
    log = data[header.log_offset:log_end].rstrip(bytes(1))
    return Draft(bytearray(data[:end]), len(data),
                 [(end, data[end:header.log_offset]),
                  (log_end, data[log_end:])], log)


# Damage. Each of these changes a draft, and may leave it valid.

EXTREME = [0, 1, 2, 7, 511, 512, 513, 4095, 4096, 4097, 1 << 20, 1 << 22,
           (1 << 22) + 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
           1 << 32, 1 << 43, 1 << 58, MAX_SIZE, 1 << 59, 1 << 60,
           (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 512,
           (1 << 64) - 1]


def extreme_value(rng: Random, old: int, bits: int) -> int:
    """Another value for a number."""
    value = rng.choice([
        rng.choice(EXTREME), rng.choice(EXTREME), rng.getrandbits(bits),
        old + rng.choice([-1, 1, -8, 8, -512, 512, -4096, 4096, MIB, -MIB]),
        old << rng.randrange(1, 12), old >> rng.randrange(1, 12), -old,
        old ^ 1 << rng.randrange(bits)])
    return value % (1 << bits)


def flip_bits(rng: Random, draft: Draft) -> None:
    """Anywhere, or in the header"""
    top = rng.choice([512, len(draft.raw)])
    for _ in range(rng.choice([1, 1, 1, 2, 8, 64])):
        draft.raw[rng.randrange(top)] ^= 1 << rng.randrange(8)


def damage_byte(rng: Random, draft: Draft) -> None:
    """Which a repair may be able to undo."""
    where = rng.choice([rng.randrange(132), rng.randrange(512)])
    draft.raw[where] ^= rng.randrange(1, 256)


def random_header_bytes(rng: Random, draft: Draft) -> None:
    """A run of them"""
    start = rng.randrange(512)
    for i in range(start, min(512, start + rng.choice([1, 2, 4, 8, 32, 512]))):
        draft.raw[i] = rng.randrange(256)


def change_fields(rng: Random, draft: Draft) -> None:
    """Numbers of the header, each for itself."""
    numbers = [name for name in FIELDS if name not in ('magic', 'checksum')]
    for name in rng.sample(numbers, rng.choice([1, 1, 1, 2, 3])):
        bits = 64 if FIELDS[name][1] == '<Q' else 32
        set_field(draft.raw, name,
                  extreme_value(rng, get_field(draft.raw, name), bits))
        draft.damage.append(name)
    if rng.random() < 0.95:
        fix_checksum(draft.raw)


def change_geometry(rng: Random, draft: Draft) -> None:
    """A header that is plausible in itself, over a table of another device."""
    geometry = rng.choice([random_geometry, extreme_geometry])(rng)
    draft.raw[:512] = make_header(rng, geometry)
    if rng.random() < 0.7:
        draft.log_offset = get_field(draft.raw, 'log_offset')
    if rng.random() < 0.5:
        set_field(draft.raw, 'incompatible', SHORT_FILE)
        fix_checksum(draft.raw)
    if rng.random() < 0.5:
        resize_for_header(rng, draft)


def resize_for_header(_rng: Random, draft: Draft) -> None:
    """As long as the header says."""
    try:
        draft.length = min(Header(draft.raw[:512]).least_length, LARGE_FILE)
    except Invalid:
        pass


def change_features(rng: Random, draft: Draft) -> None:
    """Feature bits"""
    name = rng.choice(['incompatible', 'compatible', 'autoclear'])
    value = rng.choice([0, 1, 2, 3, 1 << 63, rng.getrandbits(64)])
    set_field(draft.raw, name, value)
    fix_checksum(draft.raw)


def grow_tail(rng: Random, draft: Draft) -> None:
    """Bytes of the header that are to be zero."""
    draft.raw[rng.randrange(120, 512)] = rng.randrange(1, 256)
    fix_checksum(draft.raw)


def change_entries(rng: Random, draft: Draft) -> None:
    """Entries of the table: conditions and addresses of all kinds."""
    offset = table_offset(draft)
    count = (len(draft.raw) - offset) // 8
    if count <= 0:
        return
    for i in rng.choices(range(count), k=rng.choice([1, 1, 2, 3, 8])):
        old = struct.unpack_from('<Q', draft.raw, offset + i * 8)[0]
        struct.pack_into('<Q', draft.raw, offset + i * 8,
                         change_entry(rng, old, draft.raw, i))


def change_entry(rng: Random, old: int, raw: bytearray, i: int) -> int:
    """Another entry for zone i"""
    kind = rng.randrange(5)
    zone_size: int = get_field(raw, 'zone_size')
    capacity: int = get_field(raw, 'zone_capacity')
    if kind == 0:
        return rng.getrandbits(64)
    if kind == 1:
        return old ^ (EXT_BIT if rng.random() < 0.3
                      else 1 << rng.randrange(64))
    if kind == 2:               # another condition
        return old & (1 << 60) - 1 | rng.randrange(16) << 60
    start = i * zone_size
    end = start + rng.choice([0, capacity, zone_size, capacity // 2,
                              rng.randrange(zone_size + 1) if zone_size else 0
                              ]) + rng.choice([0, 0, -512, 512, -1, 1, 511])
    if kind == 3:               # another address
        return (old >> 59 << 59 | end % (1 << 59)) % (1 << 64)
    return (rng.choice([1, 2, 3, 4, 13, 14, 15]) << 60 | end % (1 << 59))


def activate_zones(rng: Random, draft: Draft) -> None:
    """More active zones than a limit that was low already."""
    try:
        header = Header(draft.raw[:512])
    except Invalid:
        return
    if header.nr_zones > 4096:
        return
    set_field(draft.raw, 'max_active', rng.randint(1, 4))
    set_field(draft.raw, 'max_open', 0)
    fix_checksum(draft.raw)
    for i in range(header.nr_conv, header.nr_zones):
        where = header.table_offset + i * 8
        if rng.random() < 0.5 and where + 8 <= len(draft.raw):
            zone = Zone(rng.choice([IOPEN, EOPEN, CLOSED]),
                        header.cap_limit(i) - SECTOR)
            struct.pack_into('<Q', draft.raw, where, header.encode(i, zone))


def truncate(rng: Random, draft: Draft) -> None:
    """Near where something ends, or anywhere"""
    offset = table_offset(draft)
    data = get_field(draft.raw, 'data_offset')
    border = rng.choice([0, 512, offset, len(draft.raw), data, draft.length,
                         *[where for where, _ in draft.pieces]])
    length = rng.choice([border + rng.choice([-4096, -512, -1, 0, 1, 512]),
                         rng.randrange(draft.length + 1)])
    draft.length = min(max(length, 0), draft.length)


def extend(rng: Random, draft: Draft) -> None:
    """With junk behind the image"""
    old = draft.length
    draft.length = min(LARGE_FILE, old + rng.choice(
        [1, 511, 512, 4096, MIB, 1 << 31, 1 << 32, 1 << 42]))
    junk = bytes(rng.getrandbits(8) for _ in range(rng.choice([1, 512, 4096])))
    draft.pieces.append((old, junk))


def swap_blocks(rng: Random, draft: Draft) -> None:
    """As if writes had gone to the wrong place."""
    size = rng.choice([512, 512, 4096])
    blocks = len(draft.raw) // size
    if blocks < 2:
        return
    one, two = (size * rng.randrange(blocks) for _ in range(2))
    first = bytes(draft.raw[one:one + size])
    second = bytes(draft.raw[two:two + size])
    draft.raw[one:one + size] = second
    if rng.random() < 0.7:
        draft.raw[two:two + size] = first


def lose_block(rng: Random, draft: Draft) -> None:
    """A block of zeroes, of ones, or of noise."""
    size = rng.choice([512, 4096])
    start = rng.randrange(-(-len(draft.raw) // size)) * size
    end = min(start + size, len(draft.raw))
    byte = rng.choice([0, 0, 0xff, None])
    draft.raw[start:end] = bytes(
        rng.randrange(256) if byte is None else byte
        for _ in range(start, end))


def shift(rng: Random, draft: Draft) -> None:
    """All moves by a few bytes."""
    count = rng.choice([1, 8, 512])
    draft.raw[:] = (bytes(count) + draft.raw)[:len(draft.raw)]


def flip_log_bits(rng: Random, draft: Draft) -> None:
    """Anywhere in the log, or near the start of a block of it"""
    if not draft.log:
        return
    for _ in range(rng.choice([1, 1, 2, 8])):
        where = rng.randrange(len(draft.log))
        if rng.random() < 0.7:
            where = min(where // LOG_BLOCK * LOG_BLOCK + rng.randrange(72),
                        len(draft.log) - 1)
        draft.log[where] ^= 1 << rng.randrange(8)


def change_head(rng: Random, draft: Draft) -> None:
    """Another epoch, or bytes that are to be zero"""
    head = draft.log[:512]
    if len(head) < 512:
        return
    if rng.random() < 0.7:
        epoch = struct.unpack_from('<Q', head, 8)[0]
        struct.pack_into('<Q', head, 8, extreme_value(rng, epoch, 64))
    else:
        head[rng.randrange(16, 512)] = rng.randrange(256)
    if rng.random() < 0.8:
        struct.pack_into('<I', head, 4, log_checksum(head))
    draft.log[:512] = head


def change_record(rng: Random, draft: Draft) -> None:
    """Numbers of a record, with a checksum that is right in most cases"""
    blocks = len(draft.log) // LOG_BLOCK
    if blocks < 2:
        return
    start = rng.choice([1, rng.randrange(1, blocks)]) * LOG_BLOCK
    length = struct.unpack_from('<I', draft.log, start + 20)[0]
    record = draft.log[start:start + max(40, min(length, LOG_BLOCK))]
    for _ in range(rng.choice([1, 1, 1, 2])):
        size = rng.choice([4, 4, 8])
        where = rng.choice([8, 16, 20, 24, 28, 32, rng.randrange(40, 400)])
        where = min(where, len(record) - 8) // size * size
        old = int.from_bytes(record[where:where + size], 'little')
        record[where:where + size] = extreme_value(
            rng, old, size * 8).to_bytes(size, 'little')
    if rng.random() < 0.9:
        length = struct.unpack_from('<I', record, 20)[0]
        whole = record + draft.log[start + len(record):]
        struct.pack_into('<I', record, 4, log_checksum(whole[:length]))
    draft.log[start:start + len(record)] = record


def lose_log_block(rng: Random, draft: Draft) -> None:
    """Of zeroes or noise, or a sector of it only"""
    if not draft.log:
        return
    size = rng.choice([512, LOG_BLOCK])
    start = rng.randrange(-(-len(draft.log) // size)) * size
    end = min(start + size, len(draft.log))
    draft.log[start:end] = bytes(end - start) if rng.random() < 0.7 else \
        bytes(rng.randrange(256) for _ in range(start, end))


def swap_log_blocks(rng: Random, draft: Draft) -> None:
    """Or write one at two places"""
    blocks = len(draft.log) // LOG_BLOCK
    if blocks < 2:
        return
    one, two = (LOG_BLOCK * rng.randrange(blocks) for _ in range(2))
    first = draft.log[one:one + LOG_BLOCK]
    draft.log[one:one + LOG_BLOCK] = draft.log[two:two + LOG_BLOCK]
    if rng.random() < 0.5:
        draft.log[two:two + LOG_BLOCK] = first


def spoil_data(rng: Random, draft: Draft) -> None:
    """Which a record may have a sum of"""
    if draft.pieces:
        i = rng.randrange(len(draft.pieces))
        offset, data = draft.pieces[i]
        where = rng.choice([0, rng.randrange(len(data) or 1)])
        draft.pieces[i] = offset, data[:where] + b'!' + data[where + 1:]


def lose_log(_rng: Random, draft: Draft) -> None:
    """As if there had been none yet"""
    set_field(draft.raw, 'log_offset', 0)
    set_field(draft.raw, 'log_blocks', 0)
    fix_checksum(draft.raw)


def table_offset(draft: Draft) -> int:
    """Where the table is, if the header can be trusted."""
    offset: int = get_field(draft.raw, 'table_offset')
    return offset if 512 <= offset < len(draft.raw) else ALIGNMENT


def move_options(rng: Random, draft: Draft) -> None:
    """Options offset and len that do not suit."""
    if rng.random() < 0.5:
        draft.opt_len = rng.choice([
            0, 511, 512, draft.length - 512, draft.length + 512,
            rng.randrange(draft.length + 1), (1 << 63) - 1, (1 << 64) - 1])
    else:
        draft.base = rng.choice([512, 1000, 4096])
        draft.opt_len = rng.choice([None, draft.length + 1])


# How often each is done
DAMAGE = [(flip_bits, 12), (damage_byte, 6), (random_header_bytes, 6),
          (change_fields, 25),
          (change_geometry, 8), (change_features, 4), (grow_tail, 2),
          (change_entries, 30), (activate_zones, 6), (truncate, 12),
          (extend, 4), (swap_blocks, 6), (lose_block, 5), (shift, 2),
          (resize_for_header, 4), (move_options, 3), (flip_log_bits, 8),
          (change_head, 4), (change_record, 16), (lose_log_block, 4),
          (swap_log_blocks, 4), (spoil_data, 5), (lose_log, 2)]


def place(rng: Random, draft: Draft) -> None:
    """Somewhere in a larger file."""
    draft.base = ALIGNMENT * rng.choice([1, 3, 256, 1000])
    if rng.random() < 0.5:
        draft.opt_len = draft.length


def make_image(rng: Random, made_by_driver: List[Draft]) -> Draft:
    """A draft, damaged in most cases."""
    if rng.random() < 0.3:
        draft = copy.deepcopy(rng.choice(made_by_driver))
    else:
        draft = make_draft(rng)
    if rng.random() < 0.15:
        place(rng, draft)
    # One in ten is left as it is: these must be opened.
    for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 1, 2, 2, 3])):
        damage = rng.choices([d for d, _ in DAMAGE],
                             weights=[w for _, w in DAMAGE])[0]
        draft.damage.append(damage.__name__)
        damage(rng, draft)
        if damage in (flip_bits, random_header_bytes) and rng.random() < 0.5:
            fix_checksum(draft.raw)
            draft.damage.append('checksum repaired')
    return draft
