# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios as they are written: a file of shell functions, its steps."""

import re
import shlex
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set

PARTS = Path(__file__).resolve().parent
SCENARIOS = PARTS / 'scenarios'

# What the lines `# NAME: VALUE` of a file can say, of all its steps or above
# one of them; and what only the file can.
SETTINGS = ('device', 'disk', 'qemu', 'parameters', 'says', 'image', 'format',
            'file', 'there', 'seconds')
OF_FILE = ('kernel', 'needs', 'minutes')
SETTING = re.compile(rf'# ({"|".join([*SETTINGS, *OF_FILE, "run", "only"])}): '
                     r'(.*)')
STEP = re.compile(r'(host|guest|cut|meanwhile)_(\w+)\(\) \{')


class Malformed(Exception):
    """A scenario that says what it cannot mean."""


class Step(NamedTuple):
    """A function of a scenario."""
    name: str
    kind: str                       # host, guest, cut or meanwhile
    settings: Dict[str, str]
    only: List[str]                 # the runs that have it, all if empty

    @property
    def function(self) -> str:
        """Its name in the file."""
        return f'{self.kind}_{self.name}'


class Scenario(NamedTuple):
    """One of the ways to run a file."""
    name: str
    about: str
    text: str                       # of the file
    settings: Dict[str, str]
    variables: Dict[str, str]
    steps: List[Step]

    @property
    def kernel(self) -> Optional[str]:
        """The one that it needs."""
        return self.settings.get('kernel')

    @property
    def minutes(self) -> Optional[str]:
        """How long it takes, if that is too long for dev/check."""
        return self.settings.get('minutes')

    @property
    def fio(self) -> bool:
        """Whether its guests need it."""
        return self.settings.get('needs') == 'fio'

    @property
    def tools(self) -> bool:
        """Whether they need QEMU's tools."""
        return self.settings.get('needs') == 'tools'

    @property
    def cluster(self) -> bool:
        """Whether dev/cluster must run, and QEMU know RBD."""
        return self.settings.get('needs') == 'cluster'

    def devices(self) -> Set[str]:
        """Those that its guests have."""
        return {step.settings.get('device', 'virtio-blk')
                for step in self.steps if step.kind in ('guest', 'cut')}

    def has_cuts(self) -> bool:
        """Whether power is cut in it."""
        return any(step.kind == 'cut' for step in self.steps)

    def meanwhile(self, step: Step) -> Optional[Step]:
        """What runs on the host while a step does, if there is anything."""
        for other in self.steps:
            if (other.kind, other.name) == ('meanwhile', step.name):
                return other
        return None


def _comment_above(lines: List[str], index: int) -> List[str]:
    start = index
    while start > 0 and lines[start - 1].startswith('#'):
        start -= 1
    return lines[start:index]


def _first_paragraph(head: List[str]) -> str:
    """What the comment says first, after what tools read."""
    lines = [line[2:] for line in head
             if not re.match('# (shellcheck|SPDX)', line)]
    return ' '.join(lines[:lines.index('')] if '' in lines else lines)


def _settings(comment: List[str], allowed: List[str]) -> Dict[str, str]:
    found = {}
    for line in comment:
        match = SETTING.fullmatch(line)
        if match and match[1] in allowed:
            found[match[1]] = match[2].strip()
        elif match:
            raise Malformed(f'not here: {line}')
    return found


def _steps(lines: List[str]) -> List[Step]:
    steps = []
    for index, line in enumerate(lines):
        match = STEP.fullmatch(line)
        if match:
            settings = _settings(_comment_above(lines, index),
                                 [*SETTINGS, 'only'])
            only = settings.pop('only', '').split()
            steps.append(Step(match[2], match[1], settings, only))
    return steps


def _run(line: str, head: Dict[str, str], about: str, text: str,
         steps: List[Step]) -> Scenario:
    """What a line `# run: NAME SETTING=VALUE... VARIABLE=VALUE...` means."""
    name, *words = shlex.split(line)
    settings, variables = dict(head), {}
    for word in words:
        key, _, value = word.partition('=')
        if key in (*SETTINGS, *OF_FILE):
            settings[key] = value
        elif key.isupper():
            variables[key] = value
        else:
            raise Malformed(f'{name}: {word}')
    own = [step._replace(settings={**settings, **step.settings})
           for step in steps if not step.only or name in step.only]
    guests = [step.name for step in own if step.kind == 'guest']
    for step in own:
        if step.kind == 'meanwhile' and step.name not in guests:
            raise Malformed(f'{name}: no guest_{step.name}')
    own_words = [word for word in words
                 if word.startswith('device=') or word[0].isupper()]
    if own_words:
        about += f' ({", ".join(own_words)})'
    return Scenario(name, about, text, settings, variables, own)


def read_file(path: Path) -> List[Scenario]:
    """All the ways to run a file; without `# run:` there is one."""
    text = path.read_text(encoding='utf-8')
    lines = text.splitlines()
    head = lines[:next(i for i, line in enumerate(lines)
                       if not line.startswith('#'))]
    runs = [match[2] for match in map(SETTING.fullmatch, head)
            if match and match[1] == 'run'] or [path.stem]
    settings = _settings(head, [*SETTINGS, *OF_FILE, 'run'])
    settings.pop('run', None)
    about = _first_paragraph(head)
    steps = _steps(lines)
    found = [_run(run, settings, about, text, steps) for run in runs]
    for step in steps:
        for name in step.only:
            if name not in [scenario.name for scenario in found]:
                raise Malformed(f'{path}: {step.function} is for {name}')
    return found


def all_scenarios() -> Dict[str, Scenario]:
    """By their names."""
    found: Dict[str, Scenario] = {}
    for path in sorted(SCENARIOS.glob('*.sh')):
        for scenario in read_file(path):
            if scenario.name in found:
                raise Malformed(f'{path}: there is a {scenario.name} already')
            found[scenario.name] = scenario
    return dict(sorted(found.items()))
