# The image format of zoned disks: encoder and decoder for tests.
#
# They are written from docs/interop/zoned.rst and not from the driver, so that
# a mistake of the one is seen by the other.  For the same reason, they share
# nothing with the reader in that document, with the judge of the unit tests
# (zoned-judge.c) and with their rules (zoned-format-rules.h).
#
# SPDX-License-Identifier: GPL-2.0-or-later

import dataclasses
import enum
import io
import struct
from typing import (
    Any, BinaryIO, Dict, List, NamedTuple, Optional, Sequence, Tuple)

KIB = 1 << 10
MIB = 1 << 20
SECTOR = 512

HEADER_SIZE = 512
ENTRY_SIZE = 8
TABLE_OFFSET = 4096
TABLE_BLOCK = 4096
LOG_BLOCK = 4096
LOG_BLOCKS = 128            # of a new image
DATA_ALIGNMENT = MIB


class Cond(enum.IntEnum):
    """The condition of a zone, as zone reports and images number it."""
    NOT_WP = 0
    EMPTY = 1
    IOPEN = 2
    EOPEN = 3
    CLOSED = 4
    RDONLY = 13
    FULL = 14
    OFFLINE = 15


NOT_WP = Cond.NOT_WP
EMPTY = Cond.EMPTY
IOPEN = Cond.IOPEN
EOPEN = Cond.EOPEN
CLOSED = Cond.CLOSED
RDONLY = Cond.RDONLY
FULL = Cond.FULL
OFFLINE = Cond.OFFLINE


# The fields of the header: where they are, and how struct calls them
FIELDS: Dict[str, Tuple[int, str]] = {
    'magic': (0, '<4s'),
    'version': (4, '<I'),
    'length': (8, '<I'),
    'checksum': (12, '<I'),
    'incompatible': (16, '<Q'),
    'compatible': (24, '<Q'),
    'autoclear': (32, '<Q'),
    'size': (40, '<Q'),
    'zone_size': (48, '<Q'),
    'zone_capacity': (56, '<Q'),
    'nr_zones': (64, '<I'),
    'nr_conv': (68, '<I'),
    'nr_seq': (72, '<I'),
    'max_open': (76, '<I'),
    'max_active': (80, '<I'),
    'max_append_sectors': (84, '<I'),
    'model': (88, '<I'),
    'extension_size': (92, '<I'),
    'table_offset': (96, '<Q'),
    'data_offset': (104, '<Q'),
    'extension_offset': (112, '<Q'),
    'log_offset': (120, '<Q'),
    'log_blocks': (128, '<I'),
}
ZEROES = 132                # the first byte behind them


def get_field(header: bytes, name: str) -> Any:
    """A field of a header."""
    offset, form = FIELDS[name]
    return struct.unpack_from(form, header, offset)[0]


def set_field(header: bytearray, name: str, value: Any) -> None:
    """Sets a field of a header."""
    offset, form = FIELDS[name]
    struct.pack_into(form, header, offset, value)


def _crc32c_table() -> List[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        table.append(crc)
    return table


# What a byte does to the checksum
CRC32C_TABLE = _crc32c_table()


def crc32c(data: bytes) -> int:
    """CRC-32C of data."""
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC32C_TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def header_checksum(header: bytes) -> int:
    """The checksum that the header at the start of an image must have."""
    return crc32c(header[:12] + bytes(4) + header[16:HEADER_SIZE])


@dataclasses.dataclass
class Header:
    """
    The header of an image.  What is None follows from the rest, so that an
    image can be wrong in one field only.
    """
    # pylint: disable=too-many-instance-attributes
    size: int
    zone_size: int
    zone_capacity: Optional[int] = None
    nr_conv: int = 0
    max_open: int = 0
    max_active: int = 0
    max_append_sectors: int = 2048
    nr_zones: Optional[int] = None
    nr_seq: Optional[int] = None
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    magic: bytes = b'zone'
    version: int = 1
    length: int = HEADER_SIZE
    model: int = 1
    extension_size: int = 0
    table_offset: int = TABLE_OFFSET
    data_offset: Optional[int] = None
    extension_offset: Optional[int] = None
    log_offset: Optional[int] = None
    log_blocks: int = LOG_BLOCKS
    zeroes: bytes = bytes(HEADER_SIZE - ZEROES)
    checksum: Optional[int] = None

    def __post_init__(self) -> None:
        if self.zone_capacity is None:
            self.zone_capacity = self.zone_size
        if self.nr_zones is None:
            self.nr_zones = -(-self.size // self.zone_size)
        if self.nr_seq is None:
            self.nr_seq = self.nr_zones - self.nr_conv
        end = self.table_offset + self.nr_zones * ENTRY_SIZE
        if self.extension_offset is None:
            self.extension_offset = 0
            if self.extension_size:
                end = -(-end // TABLE_BLOCK) * TABLE_BLOCK
                self.extension_offset = end
                end += self.nr_zones * self.extension_size
        log_size = self.log_blocks * LOG_BLOCK
        if self.data_offset is None:
            end = -(-end // TABLE_BLOCK) * TABLE_BLOCK + log_size
            self.data_offset = -(-end // DATA_ALIGNMENT) * DATA_ALIGNMENT
        if self.log_offset is None:
            self.log_offset = 0
            if self.log_blocks:
                self.log_offset = max(self.data_offset - log_size, 0)

    def pack(self) -> bytes:
        """The bytes of the header, with the right checksum if none is set."""
        raw = bytearray(HEADER_SIZE)
        for name in FIELDS:
            if name != 'checksum':
                set_field(raw, name, getattr(self, name))
        raw[ZEROES:] = self.zeroes
        set_field(raw, 'checksum', header_checksum(raw)
                  if self.checksum is None else self.checksum)
        return bytes(raw)

    @classmethod
    def unpack(cls, data: bytes) -> 'Header':
        """The header in data; its checksum must be right."""
        fields = {name: get_field(data, name) for name in FIELDS}
        checksum = fields.pop('checksum')
        header = cls(**fields, zeroes=data[ZEROES:HEADER_SIZE])
        assert header.pack() == data, f'wrong checksum {checksum:#x}'
        return header


def pack_entry(cond: int, end: int, conv: bool = False,
               extended: bool = False) -> int:
    """
    An entry of the zone table: written up to byte end of the device, perhaps
    with a valid descriptor extension.
    """
    return cond << 60 | conv << 59 | extended << 58 | end


class Entry(NamedTuple):
    """What an entry of the zone table says."""
    cond: Cond
    end: int
    conv: bool
    extended: bool

    @classmethod
    def unpack(cls, raw: int) -> 'Entry':
        """Reads an entry of a device that is smaller than 2^58 bytes."""
        return cls(Cond(raw >> 60), raw & ((1 << 58) - 1),
                   bool(raw >> 59 & 1), bool(raw >> 58 & 1))


def without_epoch(image: bytes) -> bytes:
    """
    A whole image without that of its log, and its checksum: these change when
    a process that does nothing else takes the image over.
    """
    start = Header.unpack(image[:HEADER_SIZE]).log_offset or 0
    return image[:start + 4] + bytes(12) + image[start + 16:]


def log_checksum(data: bytes) -> int:
    """The checksum that a head of the log or a record must have."""
    return crc32c(data[:4] + bytes(4) + data[8:])


@dataclasses.dataclass
class Head:
    """The head of a log"""
    epoch: int
    magic: bytes = b'zlog'
    zeroes: bytes = bytes(496)
    checksum: Optional[int] = None

    def pack(self) -> bytes:
        """The bytes, with the right checksum if none is set."""
        raw = struct.pack('<4sIQ', self.magic, 0, self.epoch) + self.zeroes
        checksum = log_checksum(raw) if self.checksum is None \
            else self.checksum
        return raw[:4] + struct.pack('<I', checksum) + raw[8:]


class Run(NamedTuple):
    """Entries of zones in a row: that of the first"""
    zone: int
    nr_zones: int
    entry: int


class Sum(NamedTuple):
    """The checksum of data"""
    address: int
    length: int
    checksum: int

    @classmethod
    def of(cls, address: int, data: bytes) -> 'Sum':
        """That of these bytes of the device"""
        return cls(address, len(data), crc32c(data))


@dataclasses.dataclass
class Record:
    """
    A record of the log.  What is None is right, so that a record can be wrong
    in one field only.
    """
    # pylint: disable=too-many-instance-attributes
    runs: Sequence[Run] = ()
    sums: Sequence[Sum] = ()
    magic: bytes = b'zrec'
    checksum: Optional[int] = None
    epoch: Optional[int] = None
    block: Optional[int] = None
    length: Optional[int] = None
    nr_runs: Optional[int] = None
    nr_sums: Optional[int] = None
    zeroes: int = 0

    def pack(self, epoch: int, block: int) -> bytes:
        """The blocks of a record that is there in this epoch."""
        items = b''.join([struct.pack('<IIQ', *run) for run in self.runs]
                         + [struct.pack('<QII', *s) for s in self.sums])

        def given(field: Optional[int], right: int) -> int:
            return right if field is None else field

        length = given(self.length, 40 + len(items))
        raw = struct.pack(
            '<4sIQIIIIQ', self.magic, 0, given(self.epoch, epoch),
            given(self.block, block), length,
            given(self.nr_runs, len(self.runs)),
            given(self.nr_sums, len(self.sums)), self.zeroes) + items
        raw += bytes(-len(raw) % LOG_BLOCK)
        checksum = given(self.checksum, log_checksum(raw[:length]))
        return raw[:4] + struct.pack('<I', checksum) + raw[8:]

    @classmethod
    def unpack(cls, data: bytes, epoch: int,
               block: int) -> Optional['Record']:
        """The record at the start of data, or None if the log ends there."""
        if len(data) < 40:
            return None
        (magic, checksum, its_epoch, its_block, length, nr_runs, nr_sums,
         zeroes) = struct.unpack_from('<4sIQIIIIQ', data)
        if (magic != b'zrec' or its_epoch != epoch or its_block != block
                or not 40 <= length <= len(data)
                or checksum != log_checksum(data[:length])):
            return None
        assert zeroes == 0 and length == 40 + 16 * (nr_runs + nr_sums)
        sums = 40 + 16 * nr_runs
        return cls([Run(*run) for run in
                    struct.iter_unpack('<IIQ', data[40:sums])],
                   [Sum(*s) for s in
                    struct.iter_unpack('<QII', data[sums:length])])

    def nr_blocks(self) -> int:
        """How many it takes"""
        return -(-(40 + 16 * (len(self.runs) + len(self.sums))) // LOG_BLOCK)


class Log:
    """A log: its head, and what is in its other blocks."""

    def __init__(self, epoch: int = 1) -> None:
        self.head: bytes = Head(epoch).pack()
        self.epoch = epoch
        self.blocks: Dict[int, bytes] = {}
        self.end = 1            # the block behind the last record

    def add(self, record: Record) -> 'Log':
        """Puts a record behind those that there are."""
        raw = record.pack(self.epoch, self.end)
        self.blocks[self.end] = raw
        self.end += len(raw) // LOG_BLOCK
        return self

    @classmethod
    def read(cls, data: bytes) -> Tuple['Log', List[Record]]:
        """A valid log, and its records, as far as it shows itself."""
        epoch = struct.unpack_from('<Q', data, 8)[0]
        log = cls(epoch)
        assert log.head == data[:512] and 0 < epoch < 1 << 63, \
            'head of the log'
        records: List[Record] = []
        while True:
            record = Record.unpack(data[log.end * LOG_BLOCK:], epoch, log.end)
            if record is None:
                return log, records
            records.append(record)
            log.add(record)


class Image:
    """An image in memory: header, zone table, log and data."""

    def __init__(self, header: Header,
                 entries: Optional[Dict[int, int]] = None,
                 log: Optional[Log] = None) -> None:
        """
        Zones are empty (or conventional) but those of entries.  Without a log,
        there is an empty one if the header has room for one.
        """
        assert header.nr_zones is not None
        self.header = header
        self.log = log or Log()
        self.records: List[Record] = []     # those that were read
        self.entries = []
        for i in range(header.nr_zones):
            start = i * header.zone_size
            end = min(start + header.zone_size, header.size)
            conv = i < header.nr_conv
            self.entries.append(pack_entry(NOT_WP if conv else EMPTY,
                                           end if conv else start, conv))
        for i, raw in (entries or {}).items():
            self.entries[i] = raw

    def write(self, path: str, length: Optional[int] = None,
              data: Sequence[Tuple[int, bytes]] = ()) -> None:
        """
        Makes a file of it, of the given length or as long as it has to be,
        with data at these bytes of the device.
        """
        h = self.header
        assert h.data_offset is not None and h.log_offset is not None
        with open(path, 'wb') as f:
            f.write(h.pack())
            f.seek(h.table_offset)
            f.write(struct.pack(f'<{len(self.entries)}Q', *self.entries))
            if h.log_blocks:
                for block, content in ((0, self.log.head),
                                       *self.log.blocks.items()):
                    f.seek(h.log_offset + block * LOG_BLOCK)
                    f.write(content)
            for offset, content in data:
                f.seek(h.data_offset + offset)
                f.write(content)
            f.truncate(h.data_offset + h.size if length is None else length)

    @classmethod
    def decode(cls, content: bytes) -> 'Image':
        """Reads a whole image; its entries are those in effect."""
        return cls._read(io.BytesIO(content))

    @classmethod
    def read(cls, path: str) -> 'Image':
        """Reads a file; the entries are those in effect."""
        with open(path, 'rb') as f:
            return cls._read(f)

    @classmethod
    def _read(cls, f: BinaryIO) -> 'Image':
        header = Header.unpack(f.read(HEADER_SIZE))
        assert header.log_offset is not None
        image = cls(header)
        f.seek(header.table_offset)
        size = len(image.entries) * ENTRY_SIZE
        image.entries = [raw for raw, in struct.iter_unpack('<Q',
                                                            f.read(size))]
        if header.log_blocks:
            f.seek(header.log_offset)
            image.log, image.records = Log.read(
                f.read(header.log_blocks * LOG_BLOCK))
            image._replay(f)
        return image

    def _replay(self, f: BinaryIO) -> None:
        """Applies the records, but the last if its data is not in the file."""
        assert self.header.data_offset is not None
        for s in self.records[-1].sums if self.records else ():
            f.seek(self.header.data_offset + s.address)
            data = f.read(s.length)
            if len(data) < s.length or crc32c(data) != s.checksum:
                self.log.end -= self.records.pop().nr_blocks()
                del self.log.blocks[self.log.end]
                break
        for record in self.records:
            for zone, nr_zones, entry in record.runs:
                for i in range(nr_zones):
                    self.entries[zone + i] = entry + i * self.header.zone_size

    def states(self) -> List[Tuple[Cond, int]]:
        """As Session.states(), but for the image."""
        return [(entry.cond, entry.end - i * self.header.zone_size)
                for i, entry in enumerate(map(Entry.unpack, self.entries))]

    def extended(self) -> List[int]:
        """The zones with a valid descriptor extension."""
        return [i for i, raw in enumerate(self.entries)
                if Entry.unpack(raw).extended]
