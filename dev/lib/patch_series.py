# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch series: which patches there are, and what a tree is with them.

patches/series has a line for each patch, in the order in which they are
applied, in sections that are the series for upstream. Files that enter with a
patch are named below it. The patches are for the base version; other versions
get what they change by a merge of three files (the base version's before and
after the patch, and the other's), so a difference in context needs no patch.

patches/VERSION/series says where that is not enough:

    NAME                stands in for the patch of that name
    NAME into OTHER     is a part of patch OTHER, applied behind it
    NAME before OTHER   is one more patch

VERSION/NAME there is the patch of that other version.
"""

import collections
import fnmatch
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional


class SeriesError(Exception):
    """What is wrong with the series, or with a patch of it."""


@dataclass
class Patch:
    """A commit of the series."""
    name: str
    # For the base version; None: it is for another one only
    base: Optional[Path]
    # What stands in for it, and what comes on top, in the version
    instead: Optional[Path] = None
    more: List[Path] = field(default_factory=list)
    # Files of the project that enter with it
    files: List[str] = field(default_factory=list)

    def message(self) -> str:
        """The commit message."""
        path = self.instead or self.base
        assert path
        text = path.read_text(encoding='utf-8')
        head, _, _ = text.partition('\n---\n')
        if not head.startswith('Subject: [PATCH] '):
            raise SeriesError(f'{path}: no line "Subject: [PATCH] ..."')
        return head.removeprefix('Subject: [PATCH] ').strip() + '\n'


@dataclass
class Section:
    """A series for upstream."""
    name: str
    patches: List[Patch] = field(default_factory=list)


def _lines(path: Path) -> List[str]:
    """The lines that say something; those that are indented stay so."""
    return [line.rstrip()
            for line in path.read_text(encoding='utf-8').splitlines()
            if line.strip() and not line.startswith('#')]


def _read_base(project: Path) -> List[Section]:
    patches = project / 'patches'
    sections: List[Section] = []
    for line in _lines(patches / 'series'):
        if line.startswith('['):
            sections.append(Section(line.strip('[]')))
        elif not sections:
            raise SeriesError(f'patches/series: "{line}" is in no section')
        elif line.startswith(' '):
            sections[-1].patches[-1].files.append(line.strip())
        else:
            path = patches / f'{line}.patch'
            sections[-1].patches.append(Patch(line, path))
    return sections


def _adapt(sections: List[Section], folder: Path) -> None:
    """Adds what is different in the version of that folder."""
    def find(name: str) -> tuple[Section, int]:
        for section in sections:
            for i, patch in enumerate(section.patches):
                if patch.name == name:
                    return section, i
        raise SeriesError(f'{folder}/series: there is no patch {name}')

    for line in _lines(folder / 'series'):
        first, *where = line.split()
        path = (folder.parent if '/' in first else folder) / f'{first}.patch'
        name = path.stem
        section, i = find(where[1] if where else name)
        if not where:
            section.patches[i].instead = path
        elif where[0] == 'into':
            section.patches[i].more.append(path)
        elif where[0] == 'before':
            section.patches.insert(i, Patch(name, None, instead=path))
        else:
            raise SeriesError(f'{folder}/series: {line}')


def read_series(project: Path, version: Optional[str] = None) -> List[Section]:
    """The sections for a version; without one, for the base version."""
    sections = _read_base(project)
    if version and (project / 'patches' / version / 'series').exists():
        _adapt(sections, project / 'patches' / version)
    return sections


def patched_paths(patch: Path) -> List[str]:
    """The files that a patch names."""
    names = re.findall(r'^(?:---|\+\+\+) [ab]/(\S+)',
                       patch.read_text(encoding='utf-8'), re.M)
    return list(dict.fromkeys(names))


def project_files(project: Path) -> List[str]:
    """Files of the project that have a place in the QEMU tree."""
    # Those at the top, and in these folders, are this project's own.
    own = {'dev', 'patches', 'build'}
    return sorted(
        str(path.relative_to(project))
        for top in project.iterdir()
        if top.is_dir() and top.name[0] != '.' and top.name not in own
        for path in top.glob('**/*')
        if not path.is_dir() and '__pycache__' not in path.parts
        and not re.search(r'(~|\.orig|\.rej|\.sw[a-p]|\.pyc)$', path.name))


def matching(project: Path, pattern: str) -> List[str]:
    """Those that a line of patches/series means."""
    return [path for path in project_files(project)
            if fnmatch.fnmatchcase(path, pattern)]


def check_files(project: Path, sections: List[Section]) -> None:
    """Each file of the project enters with just one patch."""
    entered = collections.Counter(
        path for section in sections for patch in section.patches
        for pattern in patch.files for path in matching(project, pattern))
    for path in project_files(project):
        if entered[path] != 1:
            raise SeriesError(f'patches/series: {path} enters with '
                              f'{entered[path]} patches')


def copy(source: Path, target: Path) -> None:
    """Copy one file or link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


class Tree:
    """
    Those files of a source that a series changes or adds, as they are after
    some of its patches.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.fetched: Dict[str, bool] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def fetch(self, path: str) -> None:
        """Makes sure that a file is here, if the source has it."""
        if path not in self.fetched:
            self.fetched[path] = True
            if (self.source / path).exists():
                copy(self.source / path, self.folder / path)

    def fetch_all(self, sections: List[Section]) -> None:
        """The same for all files that patches change."""
        for section in sections:
            for patch in section.patches:
                for path in [patch.base, patch.instead, *patch.more]:
                    for name in patched_paths(path) if path else []:
                        self.fetch(name)

    def text(self, path: str) -> str:
        """A file, or nothing if it is not there."""
        file = self.folder / path
        return file.read_text(encoding='utf-8') if file.exists() else ''

    def write(self, path: str, text: str) -> None:
        """A file of the source keeps its mode."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding='utf-8')

    def apply(self, patch: Path) -> None:
        """Applies a patch, whose context must be as it says."""
        for path in patched_paths(patch):
            self.fetch(path)
        if not patched_paths(patch):
            return
        rejected = self.folder.resolve() / 'rejected'
        done = subprocess.run(
            ['patch', '-p1', '--force', '--fuzz=0', '--no-backup-if-mismatch',
             f'--reject-file={rejected}', '--input', str(patch.resolve())],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            text = ''
            if rejected.exists():
                text = rejected.read_text(encoding='utf-8')
                rejected.unlink()
            raise SeriesError(f'{patch} does not apply:\n{done.stdout}{text}')

    def add(self, project: Path, patterns: List[str]) -> None:
        """Adds files of the project."""
        for pattern in patterns:
            files = matching(project, pattern)
            if not files:
                raise SeriesError(f'patches/series: no file {pattern}')
            for path in files:
                copy(project / path, self.folder / path)


def _merged(ours: str, before: str, after: str, folder: Path) -> Optional[str]:
    """What is `ours` with the change from `before` to `after`, or None."""
    if ours == before:
        return after
    names = []
    for name, text in (('ours', ours), ('before', before), ('after', after)):
        names.append(folder / f'.merge-{name}')
        names[-1].write_text(text, encoding='utf-8')
    done = subprocess.run(['git', 'merge-file', '-p', *map(str, names)],
                          stdout=subprocess.PIPE, text=True, check=False)
    for path in names:
        path.unlink()
    return None if done.returncode else done.stdout


class Composer:
    """Applies a series to a tree, a patch at a time."""

    def __init__(self, project: Path, tree: Tree,
                 base: Optional[Tree]) -> None:
        """
        With `base`, the tree is of another version than that: what the base
        version has with the same patches.
        """
        self.project = project
        self.tree = tree
        self.base = base

    def apply(self, patch: Patch) -> None:
        """Applies the next one."""
        if self.base:
            self._port(patch, self.base)
        else:
            assert patch.base
            self.tree.apply(patch.base)
        self.tree.add(self.project, patch.files)
        for path in patch.more:
            self.tree.apply(path)

    def _port(self, patch: Patch, base: Tree) -> None:
        paths = patched_paths(patch.base) if patch.base else []
        before = {}
        for path in paths:
            base.fetch(path)
            before[path] = base.text(path)
        if patch.base:
            base.apply(patch.base)
        if patch.instead:
            self.tree.apply(patch.instead)
            return
        conflicts = []
        for path in paths:
            self.tree.fetch(path)
            text = _merged(self.tree.text(path), before[path], base.text(path),
                           base.folder)
            if text is None:
                conflicts.append(path)
            else:
                self.tree.write(path, text)
        if conflicts:
            raise SeriesError(f'{patch.base} cannot be merged into '
                              f'{", ".join(conflicts)}')


def compose(composer: Composer, sections: List[Section],
            then: Callable[[Section, Patch], None] = lambda *_: None,
            go_on: bool = False) -> List[str]:
    """
    Applies all; calls `then` after each. Returns complaints, which end it
    unless it is told to go on.
    """
    complaints = []
    for section in sections:
        for patch in section.patches:
            try:
                composer.apply(patch)
            except SeriesError as error:
                complaints.append(str(error))
                if not go_on:
                    return complaints
            then(section, patch)
    return complaints
