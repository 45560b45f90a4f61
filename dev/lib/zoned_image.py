# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads images in the zoned format, and says what is wrong with them.

Written from the specification of the format and not from the driver, so that
a mistake of the one is seen by the other; with zoned_format.py of the iotests
it shares how a header is laid out, and nothing with the other readers: the
one in docs/interop/zoned.rst, and the judge of the unit tests.
"""

import array
import functools
import os
import struct
import sys
from pathlib import Path
from typing import (
    BinaryIO, Dict, List, NamedTuple, Optional, Sequence, Tuple,
    Union)

from project import ROOT

sys.path.append(str(ROOT / 'tests' / 'qemu-iotests'))
# pylint: disable=wrong-import-position
from zoned_format import (                              # noqa: E402
    CLOSED, CRC32C_TABLE, DATA_ALIGNMENT, EMPTY, EOPEN, FIELDS, FULL,
    HEADER_SIZE, IOPEN, LOG_BLOCK, NOT_WP, OFFLINE, RDONLY, SECTOR, ZEROES,
    crc32c, get_field, header_checksum, pack_entry, set_field)

ALIGNMENT = 4096            # of zone size, capacity, device size and table
MAX_ZONES = 1 << 22
MAX_SIZE = (1 << 59) - ALIGNMENT
MAX_SIZE_EXTENDED = (1 << 58) - ALIGNMENT
MAX_EXTENSION_SIZE = 255 * 64
MAX_LOG_BLOCKS = 4096
MAX_SUMMED = 1 << 20        # bytes, by the sums of a record
INT64_MAX = (1 << 63) - 1
SHORT_FILE = 1              # incompatible feature
CONV_BIT = 1 << 59
EXT_BIT = 1 << 58           # of images with extensions; else of an address

OPEN_OR_CLOSED = (IOPEN, EOPEN, CLOSED)


def fix_checksum(header: bytearray) -> None:
    """Of an image that begins like this."""
    set_field(header, 'checksum', header_checksum(header[:HEADER_SIZE]))


class Invalid(Exception):
    """An image that must not be opened; says why."""


class Newer(Invalid):
    """An image that is not damaged, but made for newer readers."""


class Zone(NamedTuple):
    """What is known of a zone"""
    cond: int
    end: int            # byte of the device up to which the zone was written
    extended: bool = False      # its descriptor extension is valid


class Header:
    """A valid header. Raises Invalid if that is not what the bytes are."""

    magic: bytes
    version: int
    length: int
    checksum: int
    incompatible: int
    compatible: int
    autoclear: int
    size: int
    zone_size: int
    zone_capacity: int
    nr_zones: int
    nr_conv: int
    nr_seq: int
    max_open: int
    max_active: int
    max_append_sectors: int
    model: int
    extension_size: int
    table_offset: int
    data_offset: int
    extension_offset: int
    log_offset: int
    log_blocks: int

    def __init__(self, raw: bytes) -> None:
        for name in FIELDS:
            setattr(self, name, get_field(raw, name))
        self._check_identity(raw)
        self._check_geometry()
        if any(raw[ZEROES:HEADER_SIZE]):
            raise Invalid('bytes behind the last field are not zero')
        self._check_layout()

    def _check_identity(self, raw: bytes) -> None:
        if self.magic != b'zone':
            raise Invalid('magic')
        if self.version != 1 or self.length != HEADER_SIZE:
            raise Invalid('version or header length')
        if self.checksum != header_checksum(raw):
            raise Invalid('checksum')
        if self.incompatible & ~SHORT_FILE:
            raise Newer('unknown incompatible feature')
        if self.model != 1:
            raise Newer('zone model')

    def _check_geometry(self) -> None:
        if not 0 < self.size <= MAX_SIZE:
            raise Invalid('device size')
        if not 0 < self.zone_size <= self.size:
            raise Invalid('zone size')
        if not 0 < self.zone_capacity <= self.zone_size:
            raise Invalid('zone capacity')
        for number in (self.size, self.zone_size, self.zone_capacity):
            if number % ALIGNMENT:
                raise Invalid('alignment of a size')
        if self.nr_zones != -(-self.size // self.zone_size):
            raise Invalid('number of zones')
        if self.nr_zones > MAX_ZONES:
            raise Invalid('too many zones')
        if self.nr_conv > self.nr_zones:
            raise Invalid('conventional zones')
        if self.nr_seq != self.nr_zones - self.nr_conv:
            raise Invalid('sequential zones')
        if self.max_active and self.max_open > self.max_active:
            raise Invalid('max open is above max active')
        if self.extension_size % 64 or \
                self.extension_size > MAX_EXTENSION_SIZE:
            raise Invalid('extension size')
        if self.extension_size and self.size > MAX_SIZE_EXTENDED:
            raise Invalid('device size with extensions')

    def _check_layout(self) -> None:
        if self.table_offset < HEADER_SIZE or self.table_offset % ALIGNMENT:
            raise Invalid('table offset')
        if self.table_offset + self.table_size > INT64_MAX:
            raise Invalid('table end')
        end = self.table_offset + self.table_size
        if self.extension_size:
            if self.extension_offset < end or \
                    self.extension_offset % ALIGNMENT:
                raise Invalid('extension offset')
            end = self.extension_offset + self.extension_table_size
        elif self.extension_offset:
            raise Invalid('extension offset without extensions')
        if self.log_blocks:
            if not 2 <= self.log_blocks <= MAX_LOG_BLOCKS:
                raise Invalid('log blocks')
            if self.log_offset < end or self.log_offset % ALIGNMENT:
                raise Invalid('log offset')
            end = self.log_offset + self.log_blocks * LOG_BLOCK
        elif self.log_offset:
            raise Invalid('log offset without a log')
        if self.data_offset < end:
            raise Invalid('data overlaps a table or the log')
        if self.data_offset % DATA_ALIGNMENT:
            raise Invalid('alignment of the data')
        if self.data_offset + self.size > INT64_MAX:
            raise Invalid('data end')

    @property
    def table_size(self) -> int:
        """Of the zone table, in bytes"""
        return -(-self.nr_zones * 8 // ALIGNMENT) * ALIGNMENT

    @property
    def extension_table_size(self) -> int:
        """Of all descriptor extensions, in bytes"""
        return -(-self.nr_zones * self.extension_size // ALIGNMENT) * ALIGNMENT

    @property
    def ext_bit(self) -> int:
        """Of an entry: its extension is valid. 0 without extensions."""
        return EXT_BIT if self.extension_size else 0

    @property
    def least_length(self) -> int:
        """Of the file, whatever the zones hold."""
        if self.incompatible & SHORT_FILE:
            return self.data_offset + min(self.nr_conv * self.zone_size,
                                          self.size)
        return self.data_offset + self.size

    def start(self, i: int) -> int:
        """Where zone i starts in the device"""
        return i * self.zone_size

    def limit(self, i: int) -> int:
        """Where zone i ends in the device"""
        return min((i + 1) * self.zone_size, self.size)

    def is_conv(self, i: int) -> bool:
        """Whether zone i is conventional"""
        return i < self.nr_conv

    def cap_limit(self, i: int) -> int:
        """The first byte of zone i that can never be written."""
        if self.is_conv(i):
            return self.limit(i)
        return min(self.start(i) + self.zone_capacity, self.limit(i))

    def decode(self, i: int, raw: int) -> 'Optional[Zone]':
        """The zone that an entry describes, or None if it cannot be."""
        cond = raw >> 60
        extended = bool(raw & self.ext_bit)
        end = raw & (CONV_BIT - 1) & ~self.ext_bit
        if extended and cond in (NOT_WP, EMPTY):
            return None
        if bool(raw & CONV_BIT) != self.is_conv(i):
            return None
        if (cond == NOT_WP) != self.is_conv(i):
            return None
        least, most = self.start(i), self.cap_limit(i)
        if cond == NOT_WP:
            least = most
        elif cond == EMPTY:
            most = least
        elif cond in OPEN_OR_CLOSED:
            most -= SECTOR
        elif cond not in (RDONLY, FULL, OFFLINE):
            return None
        if not least <= end <= most or end % SECTOR:
            return None
        return Zone(cond, end, extended)

    def encode(self, i: int, zone: 'Zone') -> int:
        """The entry of a zone"""
        return pack_entry(zone.cond, zone.end, self.is_conv(i), zone.extended)

    def power_cycled(self, i: int, zone: 'Zone') -> 'Zone':
        """What becomes of a zone when the image is opened."""
        if zone.cond in OPEN_OR_CLOSED:
            if zone.end == self.start(i) and not zone.extended:
                return Zone(EMPTY, zone.end)
            return zone._replace(cond=CLOSED)
        return zone

    def is_active(self, i: int, zone: 'Zone') -> bool:
        """Whether a zone in this state counts as active"""
        return zone.cond in OPEN_OR_CLOSED and (zone.extended or
                                                zone.end > self.start(i))

    def fresh_table(self) -> 'array.array[int]':
        """All zones empty."""
        conv = [self.encode(i, Zone(NOT_WP, self.limit(i)))
                for i in range(self.nr_conv)]
        first = EMPTY << 60 | self.nr_conv * self.zone_size
        count = self.nr_zones - self.nr_conv
        return array.array('Q', conv) + array.array(
            'Q', range(first, first + count * self.zone_size, self.zone_size))


class Record(NamedTuple):
    """A record of a log"""
    nr_blocks: int
    runs: List[Tuple[int, ...]]         # zone, number of zones, entry
    sums: List[Tuple[int, ...]]         # address, length, checksum


class Log:
    """The records of a log, by themselves. Raises Invalid if they cannot be,
    or if the log has no head."""

    def __init__(self, header: Header, raw: bytes) -> None:
        self.header = header
        magic, checksum, self.epoch = struct.unpack_from('<4sIQ', raw)
        if (magic != b'zlog' or not 0 < self.epoch <= INT64_MAX
                or any(raw[16:512])
                or checksum != log_checksum(raw[:512])):
            raise Invalid('head of the log')
        self.records: List[Record] = []
        self.end = 1
        while self.end < header.log_blocks:
            record = self._record(raw[self.end * LOG_BLOCK:])
            if record is None:
                break
            self.records.append(record)
            self.end += record.nr_blocks

    def _record(self, raw: bytes) -> Optional[Record]:
        """The record at the start of raw, or None if the log ends there."""
        magic, checksum, epoch, block, length = struct.unpack_from(
            '<4sIQII', raw)
        if (magic != b'zrec' or (epoch, block) != (self.epoch, self.end)
                or length < 40 or length > len(raw)
                or checksum != log_checksum(raw[:length])):
            return None
        nr_runs, nr_sums, zero = struct.unpack_from('<IIQ', raw, 24)
        if zero or length != 40 + (nr_runs + nr_sums) * 16:
            raise Invalid(f'record at block {self.end}')
        middle = 40 + nr_runs * 16
        record = Record(
            -(-length // LOG_BLOCK),
            list(struct.iter_unpack('<IIQ', raw[40:middle])),
            list(struct.iter_unpack('<QII', raw[middle:length])))
        self._check_runs(record)
        self._check_sums(record)
        return record

    def _check_runs(self, record: Record) -> None:
        header, least = self.header, 0
        for zone, count, entry in record.runs:
            if not least <= zone < zone + count <= header.nr_zones:
                raise Invalid(f'zones of record at block {self.end}')
            least = zone + count
            # All between have the type and the size of the first.
            for i in (zone, least - 1):
                value = entry + (i - zone) * header.zone_size
                if value >> 64 or header.decode(i, value) is None:
                    raise Invalid(f'zone {i} in record at block {self.end}')

    def _check_sums(self, record: Record) -> None:
        for address, length, _ in record.sums:
            if (not length or length % SECTOR or address % SECTOR
                    or address < self.header.start(self.header.nr_conv)
                    or address + length > self.header.size):
                raise Invalid(f'sum in record at block {self.end}')
        if sum(length for _, length, _ in record.sums) > MAX_SUMMED:
            raise Invalid(f'sums of record at block {self.end}')

    def replay(self, f: BinaryIO, base: int,
               table: 'array.array[int]') -> None:
        """What is in effect; the last record needs its data."""
        for address, length, checksum in (self.records[-1].sums
                                          if self.records else ()):
            where = base + self.header.data_offset + address
            if (where + length > -(-f.seek(0, os.SEEK_END) // SECTOR) * SECTOR
                    or crc32c(read_at(f, where, length)) != checksum):
                del self.records[-1]
                break
        for record in self.records:
            for zone, count, entry in record.runs:
                step = self.header.zone_size
                table[zone:zone + count] = array.array(
                    'Q', range(entry, entry + count * step, step))


def log_checksum(raw: bytes) -> int:
    """What a head or a record must have."""
    return crc32c(raw[:4] + bytes(4) + raw[8:])


def _one_byte_changes() -> Dict[int, List[Tuple[int, int]]]:
    """What one other byte does to the checksum of a header: {xor: [(where, xor
    of that byte)]}; the checksum is linear."""
    changes: Dict[int, List[Tuple[int, int]]] = {}
    effects = CRC32C_TABLE
    for where in range(HEADER_SIZE - 1, -1, -1):
        if not 12 <= where < 16:
            for change in range(1, 256):
                changes.setdefault(effects[change], []).append((where, change))
        effects = [e >> 8 ^ CRC32C_TABLE[e & 0xff] for e in effects]
    for where in range(12, 16):
        for change in range(1, 256):
            changes.setdefault(change << (where - 12) * 8,
                               []).append((where, change))
    return changes


ONE_BYTE_CHANGES = _one_byte_changes()


def rebuild(damaged: bytes) -> Optional[Header]:
    """A damaged header as it was, or None if that is not determined.

    What all headers have in common may be lost, and one byte of the rest.
    """
    raw = bytearray(damaged)
    if raw[:4] == b'zone' and get_field(raw, 'version') > 1:
        return None             # of a newer version, and not damaged
    for name, value in (('magic', b'zone'), ('version', 1),
                        ('length', HEADER_SIZE), ('model', 1)):
        set_field(raw, name, value)
    raw[ZEROES:] = bytes(HEADER_SIZE - ZEROES)
    wrong = header_checksum(bytes(raw)) ^ get_field(raw, 'checksum')
    candidates = ONE_BYTE_CHANGES.get(wrong, []) if wrong else [(0, 0)]
    found = []
    for where, change in candidates:
        raw[where] ^= change
        try:
            found.append(Header(bytes(raw)))
        except Invalid:
            pass
        raw[where] ^= change
    return found[0] if len(found) == 1 else None


class Image:
    """What is in a file, from byte base on."""
    # pylint: disable=too-many-instance-attributes

    def __init__(self, path: Path, base: int = 0,
                 length: Optional[int] = None) -> None:
        self.found: Optional[Header] = None     # None if nothing can be made
        self.why: Optional[str] = None          # the header is not valid
        self.rebuilt = False                    # but it could be made valid
        self.zones: Zones = []
        self.records = 0                        # of the log, in effect
        self.claims: Dict[int, int] = {}        # the entries that cannot be
        self.length = length or 0
        self.bounded = length is not None       # option len has said it
        self.base = base
        with open(path, 'rb') as f:
            # What is opened is a whole number of sectors.
            file_length = os.fstat(f.fileno()).st_size
            self.file_length = -(-file_length // SECTOR) * SECTOR
            try:
                self._read(f)
            except Invalid as reason:
                self.why = str(reason)

    @property
    def header(self) -> Header:
        """For who knows that there is one."""
        assert self.found, self.why
        return self.found

    def _read(self, f: BinaryIO) -> None:
        self._find_length()
        header = self._find_header(read_at(f, self.base, HEADER_SIZE))
        if self.bounded and self.length < header.data_offset + header.size:
            # What lies behind the image in the file is not to be used.
            raise Invalid('option len with this size')
        if self.base + header.data_offset + header.size > INT64_MAX:
            raise Invalid('option offset with this size')
        table = array.array('Q', read_at(f, self.base + header.table_offset,
                                         header.nr_zones * 8))
        if header.log_blocks:
            log = Log(header, read_at(f, self.base + header.log_offset,
                                      header.log_blocks * LOG_BLOCK))
            log.replay(f, self.base, table)
            self.records = len(log.records)
        self.found = header
        self._decode(header, table)

    def _find_length(self) -> None:
        if self.base % ALIGNMENT or self.base > self.file_length:
            raise Invalid('option offset')
        if not self.bounded:
            self.length = self.file_length - self.base
        if self.length > self.file_length - self.base:
            raise Invalid('option len')
        if self.length < HEADER_SIZE:
            raise Invalid('too short for a header')

    def _find_header(self, raw: bytes) -> Header:
        try:
            return Header(raw)
        except Newer:
            raise
        except Invalid as reason:
            header = rebuild(raw)
            if header is None:
                raise
            self.rebuilt = True
            self.why = str(reason)
            return header

    def _decode(self, header: Header, table: 'array.array[int]') -> None:
        if table == header.fresh_table():
            # Large and empty is a case of its own, for the sake of speed.
            self.zones = LazyZones(header)
            return
        self.zones = [header.decode(i, raw) for i, raw in enumerate(table)]
        self.claims = {i: table[i] for i in self.impossible()}

    @property
    def pristine(self) -> bool:
        """All zones are empty."""
        return isinstance(self.zones, LazyZones)

    def impossible(self) -> List[int]:
        """The zones whose entries cannot be."""
        if self.pristine:
            return []
        return [i for i, zone in enumerate(self.zones) if zone is None]

    def surplus(self) -> List[int]:
        """The zones that are active beyond the limit."""
        if self.pristine or not self.header.max_active:
            return []
        active = [i for i, zone in enumerate(self.zones)
                  if zone and self.header.is_active(i, zone)]
        return active[self.header.max_active:]

    def needed_length(self, zones: 'Zones') -> int:
        """Of the file, with zones in these states"""
        needed = self.header.least_length
        if isinstance(zones, LazyZones):
            return needed
        for i, zone in enumerate(zones):
            if zone and zone.end > self.header.start(i):
                needed = max(needed, self.header.data_offset + zone.end)
        return needed

    def is_short(self) -> bool:
        """Whether the file ends before what it must hold"""
        return self.length < self.needed_length(self.zones)

    @functools.cached_property
    def valid(self) -> bool:
        """Whether the driver must open it; if not, it must refuse to."""
        return (self.why is None and not self.impossible()
                and not self.surplus() and not self.is_short())

    @property
    def writable(self) -> bool:
        """Without a log, it can only be read."""
        return self.header.log_blocks > 0

    def opened(self) -> 'SoundZones':
        """The zones of a valid image as they are after opening."""
        if isinstance(self.zones, LazyZones):
            return self.zones
        return [self.header.power_cycled(i, self.zone(i))
                for i in range(len(self.zones))]

    def zone(self, i: int) -> Zone:
        """One that is known to be possible."""
        zone = self.zones[i]
        assert zone, i
        return zone

    def _possible_end(self, i: int) -> int:
        """Up to where a zone may hold data, if nothing else is known."""
        header = self.header
        end, start = header.cap_limit(i), header.start(i)
        if header.incompatible & SHORT_FILE and not header.is_conv(i):
            # There is none behind the end of the file.
            in_file = self.file_length - self.base - header.data_offset
            end = min(end, max(in_file // SECTOR * SECTOR, start))
        return end

    def repaired(self) -> 'SoundZones':
        """The zones as they must be after a repair, power-cycled."""
        if isinstance(self.zones, LazyZones):
            return self.zones
        header = self.header
        zones = []
        surplus = set(self.surplus())
        for i, zone in enumerate(self.zones):
            if zone is None:
                conv = header.is_conv(i)
                extended = self.claims[i] & header.ext_bit and not conv
                zone = Zone(NOT_WP if conv else FULL, self._possible_end(i),
                            bool(extended))
            elif i in surplus:
                zone = zone._replace(cond=FULL)
            zones.append(header.power_cycled(i, zone))
        return zones


class LazyZones(Sequence[Zone]):
    """The zones of a new image, which may be millions."""

    def __init__(self, header: Header) -> None:
        self.header = header

    def __len__(self) -> int:
        return self.header.nr_zones

    def __getitem__(self, i):   # type: ignore[no-untyped-def]
        if not 0 <= i < len(self):
            raise IndexError(i)
        if self.header.is_conv(i):
            return Zone(NOT_WP, self.header.limit(i))
        return Zone(EMPTY, self.header.start(i))


# Those of an image; None for one that cannot be
Zones = Union[LazyZones, List[Optional[Zone]]]
SoundZones = Union[LazyZones, List[Zone]]


def read_at(f: BinaryIO, offset: int, size: int) -> bytes:
    """What is behind the end of the file reads as zeroes."""
    if offset > INT64_MAX - size:
        return bytes(size)
    f.seek(offset)
    data = f.read(size)
    return data + bytes(size - len(data))


def same_zones(left: SoundZones, right: SoundZones) -> bool:
    """Lists or LazyZones, in any combination."""
    if isinstance(left, LazyZones) and isinstance(right, LazyZones):
        return len(left) == len(right)
    return list(left) == list(right)


def fingerprint(path: Path) -> Tuple[object, ...]:
    """Changes whenever a file is written; reads no holes."""
    with open(path, 'rb') as f:
        stat = os.fstat(f.fileno())
        parts: List[Tuple[int, int]] = []
        position = 0
        while True:
            try:
                start = os.lseek(f.fileno(), position, os.SEEK_DATA)
            except OSError:         # no data behind this
                break
            position = os.lseek(f.fileno(), start, os.SEEK_HOLE)
            f.seek(start)
            parts.append((start, hash(f.read(position - start))))
    return stat.st_size, stat.st_mtime_ns, tuple(parts)
