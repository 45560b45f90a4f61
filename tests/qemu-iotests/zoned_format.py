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
import struct
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

KIB = 1 << 10
MIB = 1 << 20
SECTOR = 512

HEADER_SIZE = 512
ENTRY_SIZE = 8
TABLE_OFFSET = 4096
TABLE_BLOCK = 4096
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
}
ZEROES = 120                # the first byte behind them


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
        if self.data_offset is None:
            self.data_offset = -(-end // DATA_ALIGNMENT) * DATA_ALIGNMENT

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


class Image:
    """An image in memory: header, zone table and data."""

    def __init__(self, header: Header,
                 entries: Optional[Dict[int, int]] = None) -> None:
        """Zones are empty (or conventional) but those of entries."""
        assert header.nr_zones is not None
        self.header = header
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
        assert h.data_offset is not None
        with open(path, 'wb') as f:
            f.write(h.pack())
            f.seek(h.table_offset)
            f.write(struct.pack(f'<{len(self.entries)}Q', *self.entries))
            for offset, content in data:
                f.seek(h.data_offset + offset)
                f.write(content)
            f.truncate(h.data_offset + h.size if length is None else length)

    @classmethod
    def decode(cls, content: bytes) -> 'Image':
        """Reads header and table."""
        header = Header.unpack(content[:HEADER_SIZE])
        image = cls(header)
        raw = struct.unpack_from(f'<{len(image.entries)}Q', content,
                                 header.table_offset)
        image.entries = list(raw)
        return image

    @classmethod
    def read(cls, path: str) -> 'Image':
        """Reads header and table of a file."""
        with open(path, 'rb') as f:
            header = Header.unpack(f.read(HEADER_SIZE))
            assert header.nr_zones is not None
            f.seek(0)
            return cls.decode(f.read(header.table_offset +
                                     header.nr_zones * ENTRY_SIZE))

    def states(self) -> List[Tuple[Cond, int]]:
        """As Session.states(), but for the image."""
        return [(entry.cond, entry.end - i * self.header.zone_size)
                for i, entry in enumerate(map(Entry.unpack, self.entries))]

    def extended(self) -> List[int]:
        """The zones with a valid descriptor extension."""
        return [i for i, raw in enumerate(self.entries)
                if Entry.unpack(raw).extended]
