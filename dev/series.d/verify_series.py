# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the mails are what dev/build compiles, and each commit compiles."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import List

import mails
import prepare
import tap
from project import BUILD, ROOT

FOLDER = BUILD / 'series'


def clean_tree(source: Path, folder: Path) -> mails.Repository:
    """A repository of all that a build needs of a source, with one commit."""
    repo = mails.Repository(folder, mails.CHECKER)
    if (folder / '.git').exists():
        # What is compiled of it stays as far as it is the same.
        shutil.rmtree(folder / '.git' / 'rebase-apply', ignore_errors=True)
        repo.git('checkout', '--quiet', '--force', 'source')
        repo.git('clean', '--quiet', '-dffx')
    else:
        folder.mkdir(parents=True)
        repo.git('init', '--quiet')
    wanted = set(prepare.source_files(source))
    for path in wanted:
        prepare.update(source / path, folder / path)
    # Another source may have come to be there.
    for path in set(repo.git('ls-files', '-z').split('\0')) - {''} - wanted:
        (folder / path).unlink()
    repo.commit_all('source')
    repo.git('tag', '--force', 'source')
    return repo


def differences(repo: mails.Repository, built: Path) -> List[str]:
    """Files that are not as in the tree that dev/build makes."""
    manifest = built.with_name(built.name + '.manifest')
    expected = set(json.loads(manifest.read_text(encoding='utf-8')))
    found = set(repo.git('ls-files', '-z').split('\0')) - {''}
    return sorted(expected ^ found) + sorted(
        path for path in expected & found
        if not same(repo.folder / path, built / path))


def same(left: Path, right: Path) -> bool:
    """The same content; git knows of a mode whether a file is a program."""
    if left.is_symlink() or right.is_symlink():
        return os.readlink(left) == os.readlink(right)
    return (left.read_bytes() == right.read_bytes()
            and os.access(left, os.X_OK) == os.access(right, os.X_OK))


def maintained(tree: Path, path: str) -> bool:
    """Whether MAINTAINERS has an entry for a file."""
    text = (tree / 'MAINTAINERS').read_text(encoding='utf-8')
    return any(fnmatch.fnmatchcase(path, pattern)
               for pattern in re.findall(r'^F: *(\S+)', text, re.M))


def checkpatch(tree: Path, mail: Path) -> List[str]:
    """
    What QEMU's script says of a mail. It asks of each new file whether there
    has to be an entry in MAINTAINERS, which may have come before; and whether
    what an iotest must print is to name a license.
    """
    done = subprocess.run(
        ['perl', 'scripts/checkpatch.pl', '--quiet', '--no-summary',
         str(mail)],
        cwd=tree, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False)
    added = re.findall(r'^--- /dev/null\n\+\+\+ b/(\S+)',
                       mail.read_text(encoding='utf-8'), re.M)
    said = done.stdout
    for question in (
            r"WARNING: Does new file '\S+\.out' need 'SPDX-.*\n",
            r'WARNING: added, moved or deleted file\(s\), does .*\n'
            r'(?:.+\n)*\n',
            r'WARNING: added, moved or deleted file\(s\):\n(?:\n|  .*\n)*'
            r'Does MAINTAINERS need updating\?\n\n'):
        said = re.sub('^' + question, '', said, flags=re.M)
    return said.splitlines() + [
        f'MAINTAINERS does not name {path}' for path in added
        if not maintained(tree, path)]


def compiles(tree: Path, build: Path, what: str) -> bool:
    """Whether what is in the tree does."""
    return subprocess.run(
        [ROOT / 'dev' / 'series.d' / 'compile', tree, build, what],
        check=False).returncode == 0


def commits(repo: mails.Repository, last: str, every: bool) -> List[str]:
    """Those to compile."""
    found = repo.git('rev-list', '--reverse', f'source..{last}').split()
    return found if every else found[-1:]


def verify(version: str, source: Path, base: Path, tree: Path,
           every: bool) -> bool:
    """All of it; prints results (TAP)."""
    written = FOLDER / f'mails-{version}'
    shutil.rmtree(written, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        letters = mails.write(mails.Work(version, source, base, Path(folder)),
                              mails.CHECKER, written)
    good = tap.result(True, f'{version}: {len(letters)} mails')

    repo = clean_tree(source, FOLDER / f'qemu-{version}')
    sections = sorted(written.iterdir())
    ends = {}
    for section in sections:
        repo.git('am', '--quiet', '--empty=drop',
                 *map(str, sorted(section.glob('*.patch'))))
        ends[section.name.partition('-')[2]] = repo.git('rev-parse',
                                                        'HEAD').strip()
    last = repo.git('rev-parse', 'HEAD').strip()
    good &= tap.result(True, f'{version}: git am')
    other = differences(repo, tree)
    good &= tap.result(not other, f'{version}: the tree of dev/build',
                       other[:20])
    for mail in letters:
        if not mail.name.startswith('0000-'):
            complaints = checkpatch(repo.folder, mail)
            good &= tap.result(not complaints, f'{version}: checkpatch '
                               f'{mail.parent.name}/{mail.name}', complaints)
    last = last if every else ends['zoned-format']
    for commit in commits(repo, last, every):
        repo.git('checkout', '--quiet', commit)
        subject = repo.git('log', '-1', '--format=%s').strip()
        done = compiles(repo.folder, FOLDER / version,
                        'plain' if every else 'tools')
        good &= tap.result(done, f'{version}: "{subject}" compiles')
    return good
