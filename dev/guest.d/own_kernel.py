# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that the user has built, and what it lacks for a guest.

Its configuration is in the kernel itself (CONFIG_IKCONFIG) or beside it. If
there is none, what the guest finds, or the last that the console says, has to
do.
"""

import re
from itertools import takewhile
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

import bzimage
from bzimage import Unusable
from machine import DEVICES, Kernel
from own_modules import make_archive
from project import ROOT

FRAGMENT = ROOT / 'dev' / 'guest.d' / 'kernel.config'

# What must be in the kernel itself
BUILT_IN = {
    '64BIT': "the guest's programs, which are of 64 bits",
    'BINFMT_ELF': 'programs',
    'BINFMT_SCRIPT': "the guest's init, a script",
    'BLK_DEV_INITRD': 'an initramfs, in which the programs are',
    'PRINTK': 'messages',
    'SERIAL_8250': 'the serial ports by which the guest speaks',
    'SERIAL_8250_CONSOLE': 'a console there',
    'DEVTMPFS': '/dev',
    'PROC_FS': '/proc',
    'SYSFS': '/sys',
    'FUTEX': 'programs with threads',
    'FILE_LOCKING': 'programs that lock files',
    'POSIX_TIMERS': 'programs that wait',
    'MULTIUSER': 'programs that ask who runs them',
    'PCI': 'the disk',
    'BLK_DEV_ZONED': 'zones',
}
# What can be a module
VIRTIO = {'VIRTIO_PCI': 'a virtio disk', 'VIRTIO_BLK': 'a virtio disk'}
NVME = {'BLK_DEV_NVME': 'an NVMe disk'}
SCSI = {'VIRTIO_PCI': 'a SCSI disk', 'SCSI_VIRTIO': 'a SCSI disk',
        'BLK_DEV_SD': 'a SCSI disk'}
FILE_SYSTEMS = {'zonefs': 'ZONEFS_FS', 'btrfs': 'BTRFS_FS', 'f2fs': 'F2FS_FS',
                'xfs': 'XFS_FS', 'ext4': 'EXT4_FS'}
OTHERS = {'virtio_pci': 'VIRTIO_PCI', 'virtio_blk': 'VIRTIO_BLK',
          'nvme': 'BLK_DEV_NVME', 'dm_zoned': 'DM_ZONED',
          'null_blk': 'BLK_DEV_NULL_BLK', 'scsi_debug': 'SCSI_DEBUG',
          'sd_mod': 'BLK_DEV_SD', 'nvmet': 'NVME_TARGET',
          'nvme_loop': 'NVME_TARGET_LOOP', 'virtio_scsi': 'SCSI_VIRTIO',
          'sg': 'CHR_DEV_SG', 'usb_storage': 'USB_STORAGE',
          'xhci_pci': 'USB_XHCI_PCI', 'sym53c8xx': 'SCSI_SYM53C8XX_2',
          'megaraid_sas': 'MEGARAID_SAS', 'vmw_pvscsi': 'VMWARE_PVSCSI'}
OPTION_OF = {**FILE_SYSTEMS, **OTHERS}

# virtio-blk has zones since
OLDEST = (6, 3)

# What the guest's init says it lacks, and what is likely missing then
FOUND_MISSING = {
    'proc': 'no /proc: CONFIG_PROC_FS',
    'sysfs': 'no /sys: CONFIG_SYSFS',
    'devtmpfs': 'no /dev: CONFIG_DEVTMPFS',
    'ttyS1': 'no second serial port: CONFIG_SERIAL_8250_NR_UARTS and '
             'CONFIG_SERIAL_8250_RUNTIME_UARTS must not be less than 2',
    'zones': 'the disk has no zones: CONFIG_BLK_DEV_ZONED',
}
# What the console says: a regular expression, and what is likely missing
ON_CONSOLE = [
    (r'Failed to execute /init \(error -8\)',
     'init cannot be run: CONFIG_BINFMT_SCRIPT, CONFIG_BINFMT_ELF'),
    (r'Initramfs unpacking failed|unpacking initramfs.*failed',
     'the initramfs cannot be unpacked: is the memory too small?'),
    (r'Unable to mount root fs|No working init found',
     'it found no init: CONFIG_BLK_DEV_INITRD'),
]
SILENT = 'nothing is on the console: CONFIG_SERIAL_8250_CONSOLE, ' \
    'CONFIG_PRINTK; or it does not start at all'


class Config(NamedTuple):
    """A kernel's configuration."""
    source: str
    values: Dict[str, str]

    def of(self, option: str) -> str:
        """y, m, n or another value."""
        return self.values.get(option, 'n')


def read_config(source: str, text: str) -> Config:
    """From what `make` calls .config"""
    return Config(source, dict(re.findall(r'^CONFIG_(\w+)=(.*)$', text, re.M)))


def build_folder(image: Path) -> Optional[Path]:
    """Where it was built, if it still lies there."""
    image = image.resolve()
    if image.parts[-4:-3] == ('arch',) and image.parent.name == 'boot':
        return image.parents[3]
    return None


def find_config(image: Path, release: str, vmlinux: bytes) -> Optional[Config]:
    """The one the kernel was built with."""
    text = bzimage.ikconfig(vmlinux)
    if text:
        return read_config('CONFIG_IKCONFIG', text)
    built = build_folder(image)
    places = [image.parent / '.config', image.parent / f'config-{release}',
              image.parent / 'config', *([built / '.config'] if built else [])]
    for place in places:
        if place.is_file():
            return read_config(str(place), place.read_text(errors='replace'))
    return None


def modules_asked_for(script: str) -> List[str]:
    """The modules and file systems that it names."""
    names = re.findall(r'\bmount -t (\w+)', script)
    for words in re.findall(r'\bmodprobe (.*)', script):
        names += takewhile(re.compile(r'[\w-]+').fullmatch, words.split())
    known = [name.replace('-', '_') for name in names]
    return list(dict.fromkeys(name for name in known if name in OPTION_OF))


class OwnKernel(Kernel):
    """A file, and a folder of modules if it has any."""

    own = True
    # So that there is something to see
    parameters = 'loglevel=7'

    def __init__(self, path: Path, modules: Optional[Path],
                 scratch: Path) -> None:
        super().__init__()
        self.name = 'own'
        self.image = path / 'arch/x86/boot/bzImage' if path.is_dir() else path
        self.header = bzimage.read_header(self.image)
        vmlinux = bzimage.unpack(self.image, self.header)
        self.config = find_config(self.image, self.version, vmlinux)
        print(f'# {self.image}: Linux {self.version}, its configuration: '
              f'{self.config.source if self.config else "not found"}',
              flush=True)
        self.has_modules = modules is not None
        self.modules = make_archive(
            modules, self.version, vmlinux, scratch,
            (self.kit / 'modules-wanted').read_text(encoding='ascii').split(),
            OPTION_OF)

    @property
    def version(self) -> str:
        return self.header.release

    @property
    def symbols(self) -> Optional[Path]:
        built = build_folder(self.image)
        return built / 'vmlinux' if built else None

    def _lacking(self, devices: Iterable[str],
                 asked: Iterable[str]) -> List[str]:
        """What its configuration lacks, a line each."""
        assert self.config
        drivers = {OPTION_OF[name]: f'what it is to do ({name})'
                   for name in asked}
        for device in devices:
            drivers.update(NVME if device == 'nvme' else
                           SCSI if device.startswith('scsi') else VIRTIO)
        lines = []
        for option, purpose in {**BUILT_IN, **drivers}.items():
            value = self.config.of(option)
            if value == 'm' and option in drivers:
                if not self.has_modules:
                    lines.append(f'CONFIG_{option}=y (not m), or --modules, '
                                 f'for {purpose}')
            elif value != 'y':
                lines.append(f'CONFIG_{option}=y for {purpose}')
        return lines

    def prepare(self, devices: Iterable[str], script: str) -> None:
        asked = modules_asked_for(script)
        if self._number() < OLDEST and set(devices) != {'nvme'}:
            raise Unusable(f'{self.image}: Linux {self.version} does not know '
                           'zones of virtio disks, 6.3 does; with --device '
                           'nvme, it may')
        systems = [name for name in asked if name in FILE_SYSTEMS]
        self.settings = f'OWN_KERNEL=1\nFILE_SYSTEMS="{" ".join(systems)}"\n'
        lacking = self._lacking(devices, asked) if self.config else []
        if lacking:
            assert self.config
            raise Unusable('\n  '.join(
                [f'{self.image} (Linux {self.version}) lacks what this guest '
                 f'needs, says {self.config.source}:', *lacking]) +
                f'\nFor a start, see {FRAGMENT}')

    def _number(self) -> Tuple[int, ...]:
        found = re.match(r'(\d+)\.(\d+)', self.version)
        return tuple(map(int, found.groups())) if found else OLDEST

    def diagnose(self, console: str) -> List[str]:
        if not console.strip():
            return [SILENT]
        found = re.findall(r'^the guest lacks: (\w+)$', console, re.M)
        lines = [FOUND_MISSING.get(name) or self._missing(name)
                 for name in found]
        lines += [text for pattern, text in ON_CONSOLE
                  if not lines and re.search(pattern, console)][:1]
        lines += re.findall(r'(Kernel panic - .*)', console)[:1]
        if 'Run /init' not in console and not lines:
            lines.append(f'it stopped behind: {console.splitlines()[-1]}')
        return lines

    def _missing(self, name: str) -> str:
        """What it takes to have the disk, or a file system."""
        modules = '' if self.has_modules else ', built in or with --modules'
        if name != 'disk':
            return f'no {name}: CONFIG_{OPTION_OF[name]}{modules}'
        devices = sorted({device.name for device in DEVICES.values()})
        return f'no disk ({" or ".join(devices)}): CONFIG_BLK_DEV_ZONED, ' \
            f'CONFIG_VIRTIO_PCI, CONFIG_VIRTIO_BLK, CONFIG_BLK_DEV_NVME, ' \
            f'CONFIG_SCSI_VIRTIO, CONFIG_BLK_DEV_SD{modules}'
