# SPDX-License-Identifier: GPL-2.0-or-later
"""The series as a repository of those files that it changes, and as mails."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import patch_series
from patch_series import SeriesError
from project import ROOT


@dataclass
class Identity:
    """Who writes and signs off."""
    name: str
    email: str


CHECKER = Identity('dev/series --check', 'check@localhost')


@dataclass
class Work:
    """What mails are made from, and a folder to do it in."""
    version: str
    source: Path
    base: Path
    folder: Path


def identity() -> Identity:
    """That of whoever runs this."""
    found = []
    for setting, variable in (('user.name', 'GIT_AUTHOR_NAME'),
                              ('user.email', 'GIT_AUTHOR_EMAIL')):
        done = subprocess.run(['git', 'config', setting], text=True,
                              stdout=subprocess.PIPE, check=False)
        value = os.environ.get(variable) or done.stdout.strip()
        if not value:
            sys.exit(f'dev/series: git does not know who signs off: set '
                     f'{setting}, as in `git config --global {setting} ...`')
        found.append(value)
    return Identity(found[0], found[1])


class Repository:
    """A repository that heeds nobody's configuration."""

    def __init__(self, folder: Path, who: Identity) -> None:
        self.folder = folder
        self.environment = {
            **os.environ, 'LC_ALL': 'C.UTF-8',
            'GIT_CONFIG_GLOBAL': '/dev/null', 'GIT_CONFIG_NOSYSTEM': '1',
            'GIT_AUTHOR_NAME': who.name, 'GIT_AUTHOR_EMAIL': who.email,
            'GIT_COMMITTER_NAME': who.name, 'GIT_COMMITTER_EMAIL': who.email,
        }

    def git(self, *words: str, text: Optional[str] = None) -> str:
        """The output of a command, which must succeed."""
        done = subprocess.run(
            ['git', '-c', 'advice.detachedHead=false',
             '-c', 'diff.algorithm=histogram', *words],
            cwd=self.folder, env=self.environment, input=text or '', text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise SeriesError(f"git {' '.join(words[:3])}:\n"
                              + done.stdout[-4000:])
        return done.stdout

    def commit_all(self, message: str, *words: str) -> str:
        """Commits what is there; the name of the commit."""
        self.git('add', '--all', '--force')
        self.git('commit', '--quiet', '--allow-empty', *words, '--file=-',
                 text=message)
        return self.git('rev-parse', 'HEAD').strip()


def commit_series(work: Work, repo: Repository) -> Iterator[
        Tuple[patch_series.Section, str, str]]:
    """Commits all; each section, and the commits that it lies between."""
    sections = patch_series.read_series(ROOT, work.version)
    patch_series.check_files(ROOT, sections)
    tree = patch_series.Tree(work.source, repo.folder)
    tree.fetch_all(sections)
    base = None
    if work.base.resolve() != work.source.resolve():
        base = patch_series.Tree(work.base, work.folder / 'base')
    repo.git('init', '--quiet')
    before = repo.commit_all('base')
    ends: Dict[str, str] = {}

    def commit(section: patch_series.Section,
               patch: patch_series.Patch) -> None:
        ends[section.name] = repo.commit_all(patch.message(), '--signoff')

    composer = patch_series.Composer(ROOT, tree, base)
    complaints = patch_series.compose(composer, sections, commit)
    if complaints:
        raise SeriesError('\n'.join(complaints))
    for section in sections:
        yield section, before, ends[section.name]
        before = ends[section.name]


def cover(section: str) -> Tuple[str, str]:
    """Subject and text of a cover letter."""
    path = ROOT / 'patches' / 'cover' / section
    if not path.exists():
        raise SeriesError(f'{path} is not there')
    subject, _, text = path.read_text(encoding='utf-8').partition('\n')
    return subject.strip(), text.strip()


def write(work: Work, who: Identity, target: Path,
          only: Optional[str] = None) -> List[Path]:
    """Writes the mails into folders below target; returns them in order."""
    repo = Repository(work.folder / 'repo', who)
    repo.folder.mkdir(parents=True)
    written: List[Path] = []
    for number, (section, before, after) in enumerate(
            list(commit_series(work, repo)), 1):
        if only not in (None, section.name):
            continue
        folder = target / f'{number:02}-{section.name}'
        if folder.exists() and list(folder.glob('*.patch')):
            raise SeriesError(f'there are patches in {folder} already')
        repo.git('format-patch', '--quiet', '--unified=3', '--no-renames',
                 '--cover-letter', '--output-directory', str(folder.resolve()),
                 f'{before}..{after}')
        subject, text = cover(section.name)
        letter = folder / '0000-cover-letter.patch'
        letter.write_text(letter.read_text(encoding='utf-8')
                          .replace('*** SUBJECT HERE ***', subject)
                          .replace('*** BLURB HERE ***', text),
                          encoding='utf-8')
        written += sorted(folder.glob('*.patch'))
    return written
