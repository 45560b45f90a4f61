#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a QEMU tree that has this project in it.

The tree becomes: the source as it is, and the patches and files of the
project in the order of patches/series. Only files whose content changes are
written, so that what is compiled next is what changed. When a patch does not
apply, nothing in the tree is touched. Without a project, the tree is the
source as it is.
"""

import argparse
import filecmp
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Callable, Iterator, List, Tuple

import patch_series


def files_below(top: Path, skip_dir: Callable[[str], bool]) -> Iterator[str]:
    """All files below top, relative to it; skip_dir(relative) prunes."""
    for folder, dirs, files in os.walk(top):
        rel = os.path.relpath(folder, top)
        rel = '' if rel == '.' else rel + '/'
        # A link to a folder is copied as a link.
        links = [d for d in dirs if os.path.islink(os.path.join(folder, d))]
        dirs[:] = sorted(d for d in dirs
                         if d not in links and not skip_dir(rel + d))
        for name in sorted(files + links):
            yield rel + name


def source_files(source: Path) -> List[str]:
    """Files of a QEMU source that a build needs."""
    # The sources of firmware, two thirds of it all, are not built.
    def skip(rel: str) -> bool:
        return (rel == '.git' or rel.endswith('/__pycache__')
                or os.path.dirname(rel) == 'roms'
                or os.path.exists(source / rel / 'build.ninja'))
    return list(files_below(source, skip))


def copy(source: Path, target: Path) -> None:
    """Copy one file; an existing target is replaced, not written into."""
    temporary = target.with_name(target.name + '.prepare')
    patch_series.copy(source, temporary)
    os.replace(temporary, target)


def same_content(left: Path, right: Path) -> bool:
    """Whether two files (or links) have the same content and mode."""
    if left.is_symlink() or right.is_symlink():
        return (left.is_symlink() and right.is_symlink()
                and os.readlink(left) == os.readlink(right))
    return (filecmp.cmp(left, right, shallow=False)
            and left.stat().st_mode == right.stat().st_mode)


def update(source: Path, target: Path) -> bool:
    """Bring target to what source is. Whether that changed anything."""
    if not os.path.lexists(target):
        copy(source, target)
        return True
    old, new = target.lstat(), source.lstat()
    if (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
        return False
    if same_content(source, target):
        return False
    copy(source, target)
    # Built again even if the content is older than what was built.
    os.utime(target, follow_symlinks=False)
    return True


def compose(args: argparse.Namespace, staging: Path) -> List[str]:
    """What the project changes or adds, in staging; returns complaints."""
    base = None
    if args.base and not os.path.samefile(args.base, args.source):
        base = patch_series.Tree(args.base, staging / 'base')
    tree = patch_series.Tree(args.source, staging / 'tree')
    sections = patch_series.read_series(args.project, args.version)
    patch_series.check_files(args.project, sections)
    composer = patch_series.Composer(args.project, tree, base)
    return patch_series.compose(composer, sections, go_on=True)


def prepare(args: argparse.Namespace) -> Tuple[List[str], List[str]]:
    """Returns (complaints, changed paths)."""
    wanted = {path: args.source / path for path in source_files(args.source)}
    with tempfile.TemporaryDirectory(dir=args.tree.parent) as name:
        staging = Path(name)
        if args.project:
            complaints = compose(args, staging)
            if complaints:
                return complaints, []
            for path in files_below(staging / 'tree', lambda rel: False):
                wanted[path] = staging / 'tree' / path
        changed = [path for path, origin in wanted.items()
                   if update(origin, args.tree / path)]
    changed += remove_stale(args.tree, list(wanted))
    return [], changed


def remove_stale(tree: Path, wanted: List[str]) -> List[str]:
    """Remove what an earlier run put into the tree and is wanted no more."""
    manifest = tree.with_name(tree.name + '.manifest')
    before = json.loads(manifest.read_text()) if manifest.exists() else []
    known = set(wanted)
    stale = [p for p in before
             if p not in known and os.path.lexists(tree / p)]
    for path in stale:
        (tree / path).unlink()
    manifest.write_text(json.dumps(wanted))
    return stale


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--source', type=Path, required=True,
                        help='QEMU source, only read')
    parser.add_argument('--project', type=Path)
    parser.add_argument('--base', type=Path,
                        help='source that the patches are for, if another')
    parser.add_argument('--tree', type=Path, required=True,
                        help='the tree to make')
    parser.add_argument('--version', required=True,
                        help='which patches/VERSION/ to use')
    args = parser.parse_args()

    args.tree.mkdir(parents=True, exist_ok=True)
    try:
        complaints, changed = prepare(args)
    except patch_series.SeriesError as error:
        complaints, changed = [str(error)], []
    if complaints:
        sys.exit('\n'.join(complaints))
    # A new tree needs no list of all that is in it.
    if len(changed) > 100:
        changed = [f'{len(changed)} files']
    for path in changed:
        print('  ' + path)


if __name__ == '__main__':
    main()
