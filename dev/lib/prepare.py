#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a QEMU tree that has this project in it.

The tree becomes: the source as it is, the project's files at the same paths,
and the project's patches applied in order. Only files whose content changes
are written, so that what is compiled next is what changed. When a patch does
not apply, nothing in the tree is touched. Without a project, the tree is the
source as it is.
"""

import argparse
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Top-level folders of the project that do not go into the QEMU tree.
NOT_FOR_TREE = {'dev', 'patches', 'build'}
LEFTOVERS = re.compile(r'(~|\.orig|\.rej|\.sw[a-p]|\.pyc)$')


def files_below(top, skip_dir):
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


def source_files(source):
    """Files of a QEMU source that a build needs."""
    # The sources of firmware, two thirds of it all, are not built.
    def skip(rel):
        return (rel == '.git' or rel.endswith('/__pycache__')
                or os.path.dirname(rel) == 'roms'
                or os.path.exists(source / rel / 'build.ninja'))
    return list(files_below(source, skip))


def project_files(project):
    """Files of the project that have a place in the QEMU tree."""
    def skip(rel):
        return (rel.startswith('.') or rel in NOT_FOR_TREE
                or rel.endswith('__pycache__'))
    return [f for f in files_below(project, skip)
            if '/' in f and not LEFTOVERS.search(f)]


def patch_series(project, version):
    """
    The patches in order of their names; patches/VERSION/NAME stands in for
    patches/NAME, or comes on top if there is no such patch.
    """
    series = {}
    for folder in (project / 'patches', project / 'patches' / version):
        for patch in folder.glob('[0-9]*.patch'):
            series[patch.name] = patch
    return [series[name] for name in sorted(series)]


def patched_paths(patch):
    """The files that a patch names."""
    text = patch.read_text(encoding='utf-8')
    names = re.findall(r'^(?:---|\+\+\+) [ab]/(\S+)', text, re.M)
    return dict.fromkeys(names)


def rejected_hunks(staging):
    """What `patch` could not place, and forget it."""
    rejected = staging / 'rejected'
    if not rejected.exists():
        return ''
    text = rejected.read_text(encoding='utf-8')
    rejected.unlink()
    return text


def apply_patches(series, staging, fetch):
    """Apply all to copies in staging; the list of complaints is the answer."""
    complaints = []
    for patch in series:
        for path in patched_paths(patch):
            fetch(path)
        done = subprocess.run(
            ['patch', '-p1', '--force', '--fuzz=0', '--no-backup-if-mismatch',
             '--reject-file=rejected', '--input', str(patch.resolve())],
            cwd=staging, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, universal_newlines=True, check=False)
        if done.returncode:
            complaints.append(f'{patch} does not apply:\n{done.stdout}'
                              + rejected_hunks(staging))
    return complaints


def copy(source, target):
    """Copy one file; an existing target is replaced, not written into."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + '.prepare')
    shutil.copy2(source, temporary, follow_symlinks=False)
    os.replace(temporary, target)


def same_content(left, right):
    """Whether two files (or links) have the same content and mode."""
    if left.is_symlink() or right.is_symlink():
        return (left.is_symlink() and right.is_symlink()
                and os.readlink(left) == os.readlink(right))
    return (filecmp.cmp(left, right, shallow=False)
            and left.stat().st_mode == right.stat().st_mode)


def update(source, target):
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


def prepare(source, project, tree, version):
    """Returns (complaints, changed paths)."""
    wanted = {path: source / path for path in source_files(source)}
    series = patch_series(project, version) if project else []
    with tempfile.TemporaryDirectory(dir=tree.parent) as name:
        staging = Path(name)

        def fetch(path):
            if path in wanted and not os.path.lexists(staging / path):
                copy(wanted[path], staging / path)

        for path in project_files(project) if project else []:
            wanted[path] = project / path
        complaints = apply_patches(series, staging, fetch)
        if complaints:
            return complaints, []
        for path in files_below(staging, lambda rel: False):
            wanted[path] = staging / path

        changed = [path for path, origin in wanted.items()
                   if update(origin, tree / path)]
    changed += remove_stale(tree, wanted)
    return [], changed


def remove_stale(tree, wanted):
    """Remove what an earlier run put into the tree and is wanted no more."""
    manifest = tree.with_name(tree.name + '.manifest')
    before = json.loads(manifest.read_text()) if manifest.exists() else []
    stale = [p for p in before
             if p not in wanted and os.path.lexists(tree / p)]
    for path in stale:
        (tree / path).unlink()
    manifest.write_text(json.dumps(list(wanted)))
    return stale


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--source', type=Path, required=True,
                        help='QEMU source, only read')
    parser.add_argument('--project', type=Path)
    parser.add_argument('--tree', type=Path, required=True,
                        help='the tree to make')
    parser.add_argument('--version', required=True,
                        help='which patches/VERSION/ to prefer')
    args = parser.parse_args()

    args.tree.mkdir(parents=True, exist_ok=True)
    complaints, changed = prepare(args.source, args.project, args.tree,
                                  args.version)
    if complaints:
        sys.exit('\n'.join(complaints))
    # A new tree needs no list of all that is in it.
    if len(changed) > 100:
        changed = [f'{len(changed)} files']
    for path in changed:
        print('  ' + path)


if __name__ == '__main__':
    main()
