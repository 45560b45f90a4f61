# SPDX-License-Identifier: GPL-2.0-or-later
"""The modules of a kernel that the user has built, for an initramfs."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Iterable, List, Optional

from bzimage import Unusable, vermagics

# All of them, unless they have more bytes
MOST = 256 << 20

PACKED = {'.xz': 'xz', '.gz': 'gzip', '.zst': 'zstd'}
SIGNED = b'~Module signature appended~\n'
LISTS = ('modules.order', 'modules.builtin', 'modules.builtin.modinfo')


def _find_folder(given: Path, release: str) -> Path:
    """lib/modules/RELEASE in it."""
    if not given.is_dir():
        raise Unusable(f'{given}: there is no such folder')
    parents = [folder for folder in (given / 'lib/modules',
                                     given / 'usr/lib/modules')
               if folder.is_dir()]
    if not parents:
        raise Unusable(
            f'{given} has no lib/modules; give the INSTALL_MOD_PATH of '
            '`make modules_install`')
    for parent in parents:
        if (parent / release).is_dir():
            return parent / release
    others = sorted(path.name for parent in parents
                    for path in parent.iterdir())
    raise Unusable(
        f'{given} has modules of {", ".join(others) or "no kernel"}, the '
        f'kernel is {release}')


def _unpacked(path: Path) -> bytes:
    program = PACKED.get(path.suffix)
    if not program:
        return path.read_bytes()
    return subprocess.run([program, '-dc', path], check=True,
                          stdout=subprocess.PIPE).stdout


def _check_vermagic(module: Path, release: str, vmlinux: bytes) -> None:
    """A kernel takes only modules that were built as it was."""
    found = re.search(rb'\0vermagic=([ -~]*)\0', _unpacked(module))
    if not found:
        raise Unusable(f'{module} is no module')
    magic = found[1].decode()
    expected = {text.decode() for text in vermagics(vmlinux, release)}
    if magic.split()[0] != release or (expected and magic not in expected):
        raise Unusable(
            f'{module} is built for "{magic}", the kernel is '
            f'"{", ".join(sorted(expected)) or release}"')


def _chosen(folder: Path, files: List[Path], wanted: Iterable[str],
            release: str) -> List[Path]:
    """All of them, or if they are too many those wanted, and what they need"""
    size = sum(file.stat().st_size for file in files)
    if size <= MOST:
        return files
    print(f'# modules have {size >> 20} MiB, so the guest gets only: '
          f'{" ".join(wanted)}', flush=True)
    if not (folder / 'modules.dep').exists():
        raise Unusable(f'{folder} has no modules.dep, run depmod')
    root = folder.parents[2]
    chosen = []
    for name in wanted:
        # One that is built in, or is not there, gives nothing.
        shown = subprocess.run(
            ['modprobe', '--dirname', root, '--set-version', release,
             '--show-depends', '--ignore-install', name], check=False,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        chosen += [Path(path) for path in
                   re.findall(r'^insmod (\S+)', shown.stdout, re.M)]
    return sorted(set(chosen))


def _copy_modules(given: Path, target: Path, release: str, vmlinux: bytes,
                  wanted: Iterable[str]) -> None:
    folder = _find_folder(given, release)
    files = sorted(path for path in folder.rglob('*.ko*')
                   if re.fullmatch(r'[^.]+\.ko(\.(xz|gz|zst))?', path.name))
    if not files:
        raise Unusable(f'{folder} has no modules')
    _check_vermagic(files[0], release, vmlinux)
    unsigned = []
    for file in _chosen(folder, files, wanted, release):
        name = file.relative_to(folder)
        copy = target / (name.with_suffix('') if file.suffix in PACKED
                         else name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        data = _unpacked(file)
        copy.write_bytes(data)
        if not data.endswith(SIGNED):
            unsigned.append(copy)
    # Debug information is for the host; a signature is for all there is.
    if unsigned:
        subprocess.run(['strip', '--strip-debug', *unsigned], check=True)
    for listed in LISTS:
        if (folder / listed).exists():
            shutil.copy(folder / listed, target)


def make_archive(given: Optional[Path], release: str, vmlinux: bytes,
                 scratch: Path, wanted: List[str],
                 built_in: Iterable[str]) -> Path:
    """
    Of a folder of modules; without one, of a list that says of those known
    that they are built in, for modprobe not to complain.
    """
    root = scratch / 'modules'
    target = root / 'lib' / 'modules' / release
    target.mkdir(parents=True)
    if given:
        _copy_modules(given, target, release, vmlinux, wanted)
    else:
        (target / 'modules.builtin').write_text(
            ''.join(f'kernel/{name}.ko\n' for name in built_in),
            encoding='ascii')
    subprocess.run(['depmod', '--basedir', root, release], check=True,
                   stderr=subprocess.DEVNULL)
    archive = scratch / 'modules.cpio'
    names = '\n'.join(str(path.relative_to(root)) for path in root.rglob('*'))
    with open(archive, 'wb') as out:
        subprocess.run(['cpio', '--quiet', '-o', '-H', 'newc'], cwd=root,
                       input=names.encode(), stdout=out, check=True)
    return archive
