# SPDX-License-Identifier: GPL-2.0-or-later
"""
A recording as a page that needs nothing else: a map with a time slider and,
for each cell, what it has.

The page's address can have the time in seconds: page.html#t=1.5
"""

import json
from html import escape

from .model import CONDITIONS, WITH_WRITE_POINTER
from .recording import Recording

PAGE = '''<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>@TITLE@</title>
<style>
:root { color-scheme: light dark; --ink: #24292f; --paper: #fff;
  --soft: #57606a; --line: #d0d7de }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3;
  --paper: #0d1117; --soft: #9198a1; --line: #3d444d } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); margin: 1.2rem auto; max-width: 72rem;
  padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 }
p { margin: .2rem 0; color: var(--soft) }
#bar { display: flex; gap: .8rem; align-items: center; margin: .8rem 0 }
#time { flex: 1; min-width: 6rem }
button { font: inherit; min-width: 4.5rem }
output { font-variant-numeric: tabular-nums; min-width: 9rem;
  text-align: right }
#map { display: grid; gap: 2px;
  grid-template-columns: repeat(auto-fill, minmax(var(--cell), 1fr)) }
#map i { aspect-ratio: 1; border-radius: 2px; position: relative;
  overflow: hidden; background: color-mix(in srgb, var(--c) 28%, #fff) }
#map i[data-c=empty], #map i[data-c=not-write-pointer]
  { background: var(--c) }
#map i::after { content: ""; position: absolute; left: 0; right: 0;
  bottom: 0; height: var(--f, 0%); background: var(--w, var(--c)) }
#map i.moved { outline: 2px solid var(--ink); outline-offset: -1px }
#key { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .8rem 0;
  padding: 0; list-style: none }
#key span { display: inline-block; width: .9em; height: .9em;
  border-radius: 2px; margin-right: .4em; vertical-align: -.1em }
#tip { position: fixed; pointer-events: none; white-space: pre-line;
  background: var(--paper); border: 1px solid var(--line);
  padding: .3rem .6rem; border-radius: 4px; box-shadow: 0 2px 8px #0004;
  max-width: 22rem }
@COLOURS@
</style>
<h1>@TITLE@</h1>
<p id="disk"></p>
<p id="sum"></p>
<p id="limits"></p>
<div id="bar">
<button id="play" type="button">Play</button>
<input id="time" type="range" min="0" value="0" aria-label="Moment">
<output id="now"></output>
</div>
<div id="map" role="img" aria-label="Map of zones"></div>
<ul id="key"></ul>
<div id="tip" hidden></div>
<script>
"use strict";
const disk = @HEAD@;
const conditions = @CONDITIONS@;
const pointers = @POINTERS@;
const moments = [
@MOMENTS@
];
const $ = id => document.getElementById(id);
const start = moments[0].t, end = moments[moments.length - 1].t;
const cells = [], boxes = [];
let at = -1, timer = null;

function first(i) {
  /* Whole numbers beyond 2^53 are not exact. */
  return Number(BigInt(i) * BigInt(disk.zones) / BigInt(disk.cells));
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return Number(n.toPrecision(4)) + " " + units[i];
}

function text(counts) {
  return conditions.filter(c => counts[c])
    .map(c => counts[c] + " " + c).join(", ");
}

function shown(counts) {
  const common = ["full", "empty", "not-write-pointer"];
  return conditions.find(c => counts[c] && !common.includes(c)) ||
    common.reduce((a, b) => (counts[b] || 0) > (counts[a] || 0) ? b : a);
}

function tip(i) {
  const [counts, capacity, written] = cells[i];
  const zone = first(i), zones = first(i + 1) - zone;
  const lines = [];
  if (zones == 1) {
    const name = Object.keys(counts)[0];
    lines.push("Zone " + zone + ": " + name,
               "Starts at 0x" + (BigInt(zone) *
               BigInt(disk["zone-length"])).toString(16));
    if (pointers.includes(name))
      lines.push("Write pointer 0x" + (BigInt(zone) *
        BigInt(disk["zone-length"]) + BigInt(written)).toString(16));
  } else {
    lines.push("Zones " + zone + " to " + (zone + zones - 1), text(counts));
  }
  if (capacity)
    lines.push(bytes(written) + " of " + bytes(capacity) + " written");
  return lines.join("\\n");
}

function paint(i, moved) {
  const [counts, capacity, written] = cells[i];
  const style = boxes[i].style;
  boxes[i].dataset.c = shown(counts);
  boxes[i].dataset.w = written;
  style.setProperty("--f", capacity && written ?
    Math.max(100 * written / capacity, 4) + "%" : "0%");
  boxes[i].classList.toggle("moved", moved);
}

function show(moment) {
  const changed = new Set();
  for (const box of $("map").querySelectorAll(".moved"))
    box.classList.remove("moved");
  if (moment < at) at = -1;
  for (; at < moment;) {
    at++;
    for (const [cell, n, ...what] of moments[at].cells)
      for (let i = cell; i < cell + n; i++) {
        if (at == moment && at > 0) changed.add(i);
        cells[i] = what;
      }
  }
  for (let i = 0; i < disk.cells; i++) paint(i, changed.has(i));
  const now = moments[at], counts = {};
  let capacity = 0, written = 0;
  for (const cell of cells) {
    for (const c in cell[0]) counts[c] = (counts[c] || 0) + cell[0][c];
    capacity += cell[1];
    written += cell[2];
  }
  $("sum").textContent = text(counts) + "; " + bytes(written) + " of " +
    bytes(capacity) + " written";
  const limit = (n, max) => (n === null ? "?" : n) + "/" + (max || "no limit");
  $("limits").textContent = ["open " + limit(now.open, disk["max-open"]),
    "active " + limit(now.active, disk["max-active"]),
    ...Object.entries(now.counters).map(([k, v]) => k + " " + v)].join(" · ");
  $("now").textContent = (now.t - start).toFixed(2) + " of " +
    (end - start).toFixed(2) + " s";
  $("time").value = moment;
}

function moment(time) {
  let i = 0;
  while (i + 1 < moments.length && moments[i + 1].t <= time) i++;
  return i;
}

function fromAddress() {
  const found = /^#t=([\\d.]+)$/.exec(location.hash);
  show(found ? moment(start + Number(found[1])) : 0);
}

function stop() {
  clearInterval(timer);
  timer = null;
  $("play").textContent = "Play";
}

function play() {
  if (timer) return stop();
  let time = at == moments.length - 1 ? start : moments[at].t;
  const step = Math.max((end - start) / 400, 0.05);
  $("play").textContent = "Pause";
  timer = setInterval(() => {
    time += step;
    show(moment(time));
    if (time >= end) stop();
  }, 50);
}

function point(event) {
  const i = boxes.indexOf(event.target);
  $("tip").hidden = i < 0;
  if (i < 0) return;
  $("tip").textContent = tip(i);
  const x = event.clientX + 14, width = $("tip").offsetWidth;
  $("tip").style.left = Math.min(x, innerWidth - width - 8) + "px";
  $("tip").style.top = event.clientY + 14 + "px";
}

$("disk").textContent = disk.zones + " zones of " +
  bytes(disk["zone-length"]) + (disk.cells < disk.zones ?
  ", " + disk.cells + " cells of some zones each" : "");
$("map").style.setProperty("--cell", disk.cells <= 128 ? "34px" :
  disk.cells <= 1024 ? "20px" : "11px");
for (let i = 0; i < disk.cells; i++) {
  boxes.push(document.createElement("i"));
  $("map").append(boxes[i]);
}
for (const c of [...conditions].reverse()) {
  const item = document.createElement("li");
  item.innerHTML = "<span style='background:var(--" + c + ")'></span>" + c;
  $("key").append(item);
}
$("time").max = moments.length - 1;
$("time").addEventListener("input",
  () => { stop(); show(Number($("time").value)); });
$("play").addEventListener("click", play);
$("map").addEventListener("mousemove", point);
$("map").addEventListener("mouseleave", () => { $("tip").hidden = true; });
addEventListener("hashchange", fromAddress);
fromAddress();
</script>
</html>
'''


def script_text(text: str) -> str:
    """JSON that cannot end the script that it is in."""
    return text.replace('<', '\\u003c')


def page(recording: Recording) -> str:
    """The page."""
    disk = recording.disk()
    colours = [f':root {{ --{c.name}: {c.colour} }}\n'
               f'#map i[data-c={c.name}] {{ --c: var(--{c.name}) }}'
               for c in CONDITIONS]
    # What is in a zone that counts as empty is in others of its cell.
    colours.append('#map i[data-c=empty] { --w: var(--full) }')
    values = {
        'TITLE': escape(f'Zones of {disk.name}'),
        'COLOURS': '\n'.join(colours),
        'HEAD': script_text(json.dumps({
            'zones': disk.zones, 'zone-length': disk.zone_length,
            'max-open': disk.max_open, 'max-active': disk.max_active,
            'cells': recording.nr_cells})),
        'CONDITIONS': json.dumps([c.name for c in CONDITIONS]),
        'POINTERS': json.dumps(list(WITH_WRITE_POINTER)),
        'MOMENTS': ',\n'.join(script_text(line.strip())
                              for line in recording.lines),
    }
    text = PAGE
    for name, value in values.items():
        before, mark, after = text.partition(f'@{name}@')
        text = before + value + after
        if name == 'TITLE':
            text = text.replace(mark, value)
    return text
