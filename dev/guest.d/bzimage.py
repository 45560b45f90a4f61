# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux kernel for x86 as a file, as Linux's arch/x86/boot.rst has it."""

import bz2
import lzma
import re
import struct
import subprocess
import zlib
from pathlib import Path
from typing import NamedTuple

KERNEL_64 = 1           # a flag: it can be entered in 64 bits


class Unusable(Exception):
    """It cannot be booted, and why."""


class Header(NamedTuple):
    """What is known of it."""
    release: str        # as `uname -r` says it
    payload: int        # where in the file the kernel is, compressed
    length: int


def _reason(data: bytes) -> str:
    if data[:4] == b'\x7fELF':
        return 'is an ELF file (vmlinux?), no bzImage; give ' \
            'arch/x86/boot/bzImage'
    return 'is no Linux kernel for x86 (bzImage)'


def read_header(path: Path) -> Header:
    """Of an image that is whole."""
    if not path.is_file():
        raise Unusable(f'{path}: there is no such file')
    data = path.read_bytes()
    if data[0x202:0x206] != b'HdrS' or len(data) < 0x268:
        raise Unusable(f'{path} {_reason(data)}')
    protocol, = struct.unpack_from('<H', data, 0x206)
    if protocol < 0x20c:
        raise Unusable(f'{path} is a kernel older than Linux 3.8')
    flags, = struct.unpack_from('<H', data, 0x236)
    if not flags & KERNEL_64:
        raise Unusable(f'{path} is a kernel of 32 bits: CONFIG_64BIT')
    setup = (data[0x1f1] + 1) * 512
    version = 0x200 + struct.unpack_from('<H', data, 0x20e)[0]
    words = data[version:version + 256].split(b'\0')[0].decode(
        errors='replace').split()
    offset, length = struct.unpack_from('<II', data, 0x248)
    if setup + offset + length > len(data) or not words:
        raise Unusable(f'{path} is a kernel without its end: '
                       f'{len(data)} bytes of {setup + offset + length}')
    return Header(words[0], setup + offset, length)


def _by_program(program: str, data: bytes) -> bytes:
    # Behind a complete stream there may be what is not for the program.
    return subprocess.run([program, '-dc'], input=data, check=False,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def unpack(path: Path, header: Header) -> bytes:
    """The kernel itself; nothing if that is not to be had."""
    with open(path, 'rb') as file:
        file.seek(header.payload)
        data = file.read(header.length)
    # Behind all but gzip there is the length, which is not theirs.
    try:
        if data.startswith(b'\x1f\x8b'):
            return zlib.decompressobj(31).decompress(data)
        if data.startswith((b'\xfd7zXZ', b'\x5d\0\0')):
            return lzma.LZMADecompressor().decompress(data)
        if data.startswith(b'BZh'):
            return bz2.BZ2Decompressor().decompress(data)
        for magic, program in ((b'\x28\xb5\x2f\xfd', 'zstd'),
                               (b'\x02\x21\x4c\x18', 'lz4')):
            if data.startswith(magic):
                return _by_program(program, data[:-4])
    except (zlib.error, lzma.LZMAError, OSError):
        pass
    return data if data.startswith(b'\x7fELF') else b''


def ikconfig(vmlinux: bytes) -> str:
    """The configuration that is in a kernel; nothing if it is not."""
    start = vmlinux.find(b'IKCFG_ST\x1f\x8b')
    if start < 0:
        return ''
    return zlib.decompressobj(31).decompress(
        vmlinux[start + 8:]).decode(errors='replace')


def vermagics(vmlinux: bytes, release: str) -> 'set[bytes]':
    """What modules have to say of themselves that the kernel may take."""
    return set(re.findall(
        re.escape(release.encode()) + rb' [ -~]*mod_unload[ -~]*', vmlinux))
