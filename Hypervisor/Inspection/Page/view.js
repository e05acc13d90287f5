// The rows on the canvas: what is where on the screen, and drawing it.

const map = document.getElementById("map"), over = document.getElementById("over");
const $ = (id) => document.getElementById(id);
const state = { colour: "access", scale: "folded", follow: true, row: 0, hover: null, pinned: null, drawn: null };

/// Pieces [first page, end], joined where they touch: of those of `count` things that are wanted.
function pieces(count, isWanted, first, pages, others = []) {
  const all = others;
  for (let i = 0; i < count; i++) if (isWanted(i)) all.push([first(i), first(i) + pages(i)]);
  return union(all);
}
const slotPieces = (key) => slots.filter((slot) => slot[key] !== null).map((slot) => [slot[key], slot[key] + slot.pages]);
const isBeside = (i) => (runs.kind[i] & 3) === 1 || (runs.kind[i] & 3) === 2;
/// Physical pages beside the slots: devices, and what is mapped with nothing behind it.
const beside = pieces(runs.count, isBeside, (i) => runs.gpa[i], physicalPages);
/// Everything there is in each row.
const stretches = {
  va: pieces(runs.count, () => true, (i) => runs.va[i], (i) => runs.pages[i], repeats.map((item) => [item.va, item.va + item.pages])),
  gpa: union([...slotPieces("gpa"), ...beside.map((piece) => [...piece])]),
  hva: union(slotPieces("hva")),
  hpa: host ? pieces(host.count, (i) => host.hpa[i] >= 0, (i) => host.hpa[i], (i) => host.pages[i]) : [],
};

const rows = [
  { key: "va", name: "guest VA", from: 0, to: 1 }, { key: "gpa", name: "guest PA", from: 0, to: 1 },
];
if (stretches.hva.length) rows.push({ key: "hva", name: "host VA", from: 0, to: 1 });
if (stretches.hpa.length) rows.push({ key: "hpa", name: "host PA", from: 0, to: 1 });
const rowOf = (key) => rows.findIndex((row) => row.key === key);

/// Places of every range and host range in their rows, for the scale that is on.
const place = {};
function layOut() {
  for (const row of rows) {
    const space = row.key === "va" && raw.format.signExtended ? 2 ** (raw.format.virtualBits - 12) : 0;
    row.axis = new Axis(stretches[row.key], raw.clusters[row.key], state.scale, space);
    row.from = 0;
    row.to = 1;
  }
  const span = (axis, count, first, pages) => {
    const from = new Float64Array(count), to = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      from[i] = axis.toU(first(i));
      // The end belongs to this range, not to what begins there.
      to[i] = axis.toU(first(i) + pages(i) - 0.001);
    }
    return { from, to };
  };
  place.va = span(rows[0].axis, runs.count, (i) => runs.va[i], (i) => runs.pages[i]);
  place.gpa = span(rows[1].axis, runs.count, (i) => runs.gpa[i], physicalPages);
  if (rowOf("hpa") >= 0) {
    place.hostVA = span(rows[2].axis, host.count, (i) => {
      const slot = slotAt(host.gpa[i]);
      return slot ? slot.hva + (host.gpa[i] - slot.gpa) : 0;
    }, (i) => host.pages[i]);
    place.hpa = span(rows[3].axis, host.count, (i) => host.hpa[i], (i) => host.pages[i]);
  }
}

// MARK: Where things are

const LEFT = 88, RIGHT = 14, TOP = 6;
let width = 0, height = 0, ratio = 1;
/// Top and height of each row's bar.
function placeRows() {
  const stage = $("stage").clientWidth;
  width = Math.max(320, stage);
  const wires = rows.length > 3 ? 66 : 84;
  let y = TOP + 36;
  for (const row of rows) {
    row.top = y;
    row.height = row.key === "va" ? 26 : row.key === "hpa" ? 22 : 44;
    y += row.height + wires;
  }
  height = y - wires + (rows[rows.length - 1].key === "hpa" ? 24 : 10);
  ratio = Math.min(2, window.devicePixelRatio || 1);
  for (const canvas of [map, over]) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
  }
  over.style.top = map.offsetTop + "px";
}
const inner = () => width - LEFT - RIGHT;
const toX = (row, u) => LEFT + ((u - row.from) / (row.to - row.from)) * inner();
const toPlace = (row, x) => row.from + ((x - LEFT) / inner()) * (row.to - row.from);
function rowAt(y) {
  let best = 0;
  rows.forEach((row, i) => { if (y >= row.top - 20) best = i; });
  return best;
}

// MARK: Colours

let palette = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["bg", "panel", "text", "muted", "line", "box", "boxline", "ro", "rw", "rx", "wx", "none", "user", "accent", "hot"]) {
    palette[name] = style.getPropertyValue("--" + name).trim();
  }
}
/// Classes of ranges by what colours them; a later one covers an earlier one that shares its pixel.
const accessNames = ["none", "ro", "rx", "rw", "wx"];
function accessOf(flags) {
  if (flags & WRITE) return flags & EXEC ? 4 : 3;
  return flags & EXEC ? 2 : flags & READ ? 1 : 0;
}
const shifts = [...new Set(runs.shift)].sort((a, b) => a - b);
const sizeColours = {
  light: ["#9cc4ea", "#6f9fd8", "#4a7cc0", "#2f5aa0", "#1d3c78"], dark: ["#9cc4ea", "#7aa9dd", "#5a8ccb", "#426fb0", "#345794"],
};
function sizeColour(shift) {
  const list = sizeColours[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
  return list[shift <= 12 ? 0 : shift < 20 ? 1 : shift < 25 ? 2 : shift < 30 ? 3 : 4];
}
const classOf = new Uint8Array(runs.count);
let classColours = [];
function classify() {
  if (state.colour === "access") {
    for (let i = 0; i < runs.count; i++) classOf[i] = accessOf(runs.flags[i]);
    classColours = accessNames.map((name) => palette[name]);
  } else {
    for (let i = 0; i < runs.count; i++) classOf[i] = shifts.indexOf(runs.shift[i]);
    classColours = shifts.map(sizeColour);
  }
}

// MARK: Filter

const filter = { access: new Set(), size: new Set(), kind: new Set(), region: "" };
const passes = new Uint8Array(runs.count).fill(1);
let order = Uint32Array.from({ length: runs.count }, (_, i) => i);
const isFiltered = () => filter.access.size + filter.size.size + filter.kind.size > 0 || filter.region !== "";
function applyFilter() {
  const { access, size, kind, region } = filter;
  let count = 0;
  for (let i = 0; i < runs.count; i++) {
    const flags = runs.flags[i];
    let ok = true;
    const users = access.has("user") || access.has("kernel");
    if (users) ok = (flags & USER) !== 0 ? access.has("user") : access.has("kernel") && (runs.kind[i] & 3) !== 3;
    const named = ["ro", "rx", "rw", "wx"].filter((name) => access.has(name));
    if (ok && named.length) ok = named.includes(accessNames[accessOf(flags)]);
    if (ok && size.size) ok = size.has(runs.shift[i]);
    if (ok && kind.size) ok = kind.has(runs.kind[i] & 3);
    if (ok && region !== "") ok = regionOf(i) === region;
    passes[i] = ok ? 1 : 0;
    count += passes[i];
  }
  order = new Uint32Array(count);
  for (let i = 0, n = 0; i < runs.count; i++) if (passes[i]) order[n++] = i;
}

// MARK: View

/// Shows a part of a row; with `follow`, the rows below show what lies behind it.
function show(index, from, to) {
  const row = rows[index];
  let span = Math.min(1, Math.max(to - from, 2e-12));
  from = Math.max(0, Math.min(1 - span, from));
  row.from = from;
  row.to = from + span;
  if (state.follow) for (let i = index; i + 1 < rows.length; i++) followFrom(i);
  // While it moves a picture has fewer lines; all of them when it has come to rest.
  limit = QUICK_LINES;
  clearTimeout(settling);
  settling = setTimeout(() => { limit = LINES; redraw(); }, 160);
  redraw();
}
function followFrom(index) {
  const row = rows[index], next = rows[index + 1];
  if (row.from <= 0 && row.to >= 1) { next.from = 0; next.to = 1; return; }
  let low = Infinity, high = -Infinity;
  const add = (f0, f1, t0, t1) => {
    // A range that is cut by the edge leads to a part as well.
    const a = Math.max(0, (row.from - f0) / (f1 - f0 || 1)), b = Math.min(1, (row.to - f0) / (f1 - f0 || 1));
    if (f1 < row.from || f0 > row.to) return;
    low = Math.min(low, t0 + Math.max(0, Math.min(1, a)) * (t1 - t0));
    high = Math.max(high, t0 + Math.max(0, Math.min(1, b)) * (t1 - t0));
  };
  if (row.key === "va") {
    const [first, end] = visible(row);
    for (let i = first; i < end; i++) {
      if (passes[i] && (runs.kind[i] & 3) !== 3) add(place.va.from[i], place.va.to[i], place.gpa.from[i], place.gpa.to[i]);
    }
  } else if (row.key === "gpa") {
    for (const slot of slots) {
      if (slot.hva === null) continue;
      add(row.axis.toU(slot.gpa), row.axis.toU(slot.gpa + slot.pages - 0.001), next.axis.toU(slot.hva),
        next.axis.toU(slot.hva + slot.pages - 0.001));
    }
  } else {
    for (let i = 0; i < host.count; i++) {
      if (host.hpa[i] >= 0) add(place.hostVA.from[i], place.hostVA.to[i], place.hpa.from[i], place.hpa.to[i]);
    }
  }
  if (low > high) return;
  const margin = Math.max((high - low) * 0.04, 1e-12);
  next.from = Math.max(0, low - margin);
  next.to = Math.min(1, high + margin);
}
/// The ranges that touch what is shown of the first row: from, end.
function visible(row) {
  let first = Math.max(0, lastAtMost(place.va.from, row.from));
  if (runs.count && place.va.to[first] < row.from) first++;
  return [first, lastAtMost(place.va.from, row.to) + 1];
}
function zoom(index, factor, x) {
  const row = rows[index];
  const at = toPlace(row, x === undefined ? LEFT + inner() / 2 : x);
  const span = (row.to - row.from) * factor;
  show(index, at - ((at - row.from) / (row.to - row.from)) * span, at - ((at - row.from) / (row.to - row.from)) * span + span);
}
function pan(index, pixels) {
  const row = rows[index];
  const u = (pixels / inner()) * (row.to - row.from);
  show(index, row.from + u, row.to + u);
}
function fit() {
  for (const row of rows) { row.from = 0; row.to = 1; }
  redraw();
}
/// Brings pages of a row into view, with some room around them.
function reveal(key, first, pages) {
  const index = rowOf(key), axis = rows[index].axis;
  const a = axis.toU(first), b = Math.max(axis.toU(first + pages - 0.001), a + 1e-12);
  show(index, a - (b - a) * 0.6, b + (b - a) * 0.6);
}

// MARK: Drawing

let isWaiting = false;
function redraw() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => { isWaiting = false; draw(); });
}

function draw() {
  const c = map.getContext("2d", { alpha: false });
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.fillStyle = palette.panel;
  c.fillRect(0, 0, width, height);
  c.save();
  c.beginPath();
  c.rect(LEFT, 0, inner(), height);
  c.clip();
  const drawn = virtualWires(c);
  if (rows.length > 2) slotWires(c);
  if (rows.length > 3) frameWires(c);
  virtualRow(c);
  physicalRow(c);
  if (rows.length > 2) hostRow(c);
  if (rows.length > 3) frameRow(c);
  c.restore();
  rows.forEach((row, i) => title(c, row, i));
  state.drawn = drawn;
  drawOver();
  // What is written follows the picture, but does not hold it up.
  if (!isWritingDue) {
    isWritingDue = true;
    setTimeout(write, 80);
  }
}
let isWritingDue = false;
function write() {
  isWritingDue = false;
  showStatus();
  showRows();
}

function title(c, row, index) {
  c.textAlign = "left";
  c.fillStyle = palette.text;
  c.font = (index === state.row ? "700" : "600") + " 12.5px system-ui, sans-serif";
  const y = row.top + row.height / 2 + (row.key === "va" || row.key === "hpa" ? 0 : -2);
  c.fillText(row.name, 14, y);
  c.fillStyle = palette.muted;
  c.font = "11px system-ui, sans-serif";
  const share = row.to - row.from;
  c.fillText(share >= 0.9999 ? "all" : "× " + zoomText(1 / share), 14, y + 14);
  if (index === state.row && document.activeElement === over) {
    c.fillStyle = palette.accent;
    c.fillRect(4, row.top, 3, row.height);
  }
}
const zoomText = (factor) => (factor < 10 ? factor.toFixed(1) : grouped(Math.round(factor)));

function text(c, words, x, y, room, colour, font, align = "center") {
  if (room < 22) return false;
  c.font = font;
  c.fillStyle = colour;
  c.textAlign = align;
  let shown = words;
  if (c.measureText(shown).width > room) {
    const most = Math.floor(room / 6.6) - 1;
    if (most < 2) return false;
    shown = shown.slice(0, most) + "…";
  }
  c.fillText(shown, x, y);
  return true;
}
const NAME = "600 12px system-ui, sans-serif", ADDRESS = "11px ui-monospace, 'DejaVu Sans Mono', monospace";

/// Gaps that are drawn shorter than they are.
function folds(c, row) {
  if (state.scale === "true") {
    // All addresses, whether something is there or not.
    c.strokeStyle = palette.line;
    c.lineWidth = 1;
    c.strokeRect(Math.floor(toX(row, 0)) + 0.5, row.top + 0.5, Math.min(toX(row, 1) - toX(row, 0), 1e5), row.height - 1);
  }
  let last = -Infinity;
  for (const [from, to, first, end] of row.axis.folds) {
    if (to < row.from || from > row.to) continue;
    const x0 = toX(row, from), x1 = toX(row, to), y = row.top;
    if (x1 - x0 < 3 || x0 < last) continue;
    last = x1;
    const middle = (Math.max(x0, LEFT) + Math.min(x1, width - RIGHT)) / 2;
    c.strokeStyle = palette.muted;
    c.lineWidth = 1;
    c.setLineDash([2, 3]);
    c.beginPath();
    c.moveTo(x0, y + row.height / 2);
    c.lineTo(x1, y + row.height / 2);
    c.stroke();
    c.setLineDash([]);
    c.beginPath();
    c.moveTo(middle - 4, y + row.height - 4);
    c.lineTo(middle, y + 4);
    c.moveTo(middle, y + row.height - 4);
    c.lineTo(middle + 4, y + 4);
    c.stroke();
    if (x1 - x0 > 60) {
      c.fillStyle = palette.panel;
      const words = sizeName((end - first) * 4096) + " gap";
      c.fillRect(middle - 26, y + row.height / 2 - 8, 52, 16);
      text(c, words, middle, y + row.height / 2 + 4, x1 - x0, palette.muted, "11px system-ui, sans-serif");
    }
  }
}

/// For each pixel of a row the class that is drawn there and what else is known of it: sums over ranges' borders, so that
/// a hundred thousand ranges cost a hundred thousand additions.
function pixels(row, from, to, count, first = 0) {
  const wide = Math.ceil(inner()) + 2;
  const classes = classColours.length;
  const begins = new Int32Array(wide * classes), user = new Int32Array(wide), backed = new Int32Array(wide);
  const faded = new Int32Array(wide);
  const scale = inner() / (row.to - row.from);
  for (let i = first; i < count; i++) {
    if (to[i] < row.from || from[i] > row.to || (runs.kind[i] & 3) === 3) continue;
    const a = Math.max(0, Math.floor((from[i] - row.from) * scale));
    const b = Math.min(wide - 2, Math.max(a, Math.ceil((to[i] - row.from) * scale) - 1)) + 1;
    if (!passes[i]) { faded[a]++; faded[b]--; continue; }
    begins[a * classes + classOf[i]]++;
    begins[b * classes + classOf[i]]--;
    if (runs.flags[i] & USER) { user[a]++; user[b]--; }
    if ((runs.kind[i] & 3) !== 2) { backed[a]++; backed[b]--; }
  }
  return { wide, classes, begins, user, backed, faded };
}

/// Draws what `pixels` found as bars. Where a pixel has several classes they lie on one another, each as high as its share.
function bars(c, found, y, high) {
  const sums = new Int32Array(found.classes);
  let users = 0, backed = 0, faded = 0;
  let start = 0, key = -1;
  const flush = (end) => {
    if (key >= 0 && end > start) {
      const top = key & 31;
      c.globalAlpha = top === 31 ? 0.22 : key & 64 ? 1 : 0.42;
      c.fillStyle = top === 31 ? palette.none : classColours[top];
      c.fillRect(LEFT + start, y, end - start, high);
      c.globalAlpha = 1;
      if (key & 32) { c.fillStyle = palette.user; c.fillRect(LEFT + start, y, end - start, Math.min(4, high / 4)); }
    }
    start = end;
  };
  for (let x = 0; x < found.wide; x++) {
    let top = -1, kinds = 0, total = 0;
    for (let k = 0; k < found.classes; k++) {
      sums[k] += found.begins[x * found.classes + k];
      if (sums[k] > 0) { top = k; kinds++; total += sums[k]; }
    }
    users += found.user[x];
    backed += found.backed[x];
    faded += found.faded[x];
    if (kinds > 1) {
      flush(x);
      key = -1;
      start = x + 1;
      c.globalAlpha = backed > 0 ? 1 : 0.42;
      let at = y + high;
      // From the bottom up; the last one, which matters most, keeps two pixels at least.
      for (let k = 0; k < found.classes; k++) {
        if (sums[k] <= 0) continue;
        const part = k === top ? at - y : Math.min(at - y - 2, (sums[k] / total) * high);
        c.fillStyle = classColours[k];
        c.fillRect(LEFT + x, at - part, 1, part);
        at -= part;
      }
      c.globalAlpha = 1;
      if (users > 0) { c.fillStyle = palette.user; c.fillRect(LEFT + x, y, 1, Math.min(4, high / 4)); }
      continue;
    }
    const now = top >= 0 ? top | (users > 0 ? 32 : 0) | (backed > 0 ? 64 : 0) : faded > 0 ? 31 : -1;
    if (now !== key) { flush(x); key = now; }
  }
  flush(found.wide);
}

function virtualRow(c) {
  const row = rows[0];
  folds(c, row);
  const [first, end] = visible(row);
  bars(c, pixels(row, place.va.from, place.va.to, end, first), row.top, row.height);
  // Borders between ranges that are wide enough to tell apart, and what is not present.
  c.fillStyle = palette.panel;
  let x1 = 0;
  const scale = inner() / (row.to - row.from);
  for (let i = first; i < end; i++) {
    if ((place.va.to[i] - place.va.from[i]) * scale < 3) continue;
    const x0 = toX(row, place.va.from[i]);
    x1 = toX(row, place.va.to[i]);
    if ((runs.kind[i] & 3) === 3) {
      c.strokeStyle = palette.muted;
      c.setLineDash([2, 2]);
      c.strokeRect(Math.max(x0, LEFT - 2) + 0.5, row.top + 0.5, Math.min(x1, width) - Math.max(x0, LEFT - 2) - 1, row.height - 1);
      c.setLineDash([]);
    } else {
      c.fillRect(x1 - 0.7, row.top, 0.7, row.height);
    }
  }
  for (const item of repeats) {
    const a = toX(row, row.axis.toU(item.va)), b = toX(row, row.axis.toU(item.va + item.pages - 0.001));
    if (b < LEFT || a > width) continue;
    hatch(c, a, row.top, Math.max(1.5, b - a), row.height, palette.muted);
  }
  // Names above: one for neighbouring clusters of a region while several are seen, else the ranges' own addresses.
  const labelled = [];
  for (const [from, to] of raw.clusters.va) {
    const a = Math.max(LEFT, toX(row, row.axis.toU(from))), b = Math.min(width - RIGHT, toX(row, row.axis.toU(to - 0.001)));
    if (b < LEFT || a > width - RIGHT) continue;
    const name = clusterName(from, to), last = labelled[labelled.length - 1];
    if (last && last.name === name && regionNames.has(name)) { last.b = b; last.count++; } else labelled.push({ from, name, a, b, count: 1 });
  }
  if (labelled.length > 1 || row.to - row.from > 0.5) {
    let free = LEFT;
    labelled.forEach((item, i) => {
      const { from, name, a, b } = item, next = labelled[i + 1];
      // A name may reach into the gaps beside its clusters, never into another name.
      const middle = (a + b) / 2, end = next ? (b + next.a) / 2 : width - RIGHT;
      const room = 2 * Math.min(middle - free, end - middle) - 5;
      if (text(c, name, middle, row.top - 20, room, palette.text, NAME)) {
        if (room > 122) text(c, hex(from), middle, row.top - 6, room, palette.muted, ADDRESS);
        else if (room > 72) text(c, shortHex(from), middle, row.top - 6, room, palette.muted, ADDRESS);
      }
      free = end;
      if (item.count > 1) {
        c.strokeStyle = palette.boxline;
        c.lineWidth = 1;
        c.beginPath();
        c.moveTo(a + 0.5, row.top - 1);
        c.lineTo(a + 0.5, row.top - 3.5);
        c.lineTo(b - 0.5, row.top - 3.5);
        c.lineTo(b - 0.5, row.top - 1);
        c.stroke();
      }
    });
    return;
  }
  let last = -Infinity, named = 0;
  for (let i = first; i < end; i++) {
    const a = Math.max(LEFT, toX(row, place.va.from[i])), b = Math.min(width - RIGHT, toX(row, place.va.to[i]));
    if (b - a < 128 || a < last) continue;
    const at = Math.max(runs.va[i], Math.floor(row.axis.toPage(row.from)));
    text(c, regionOf(i) || flagText(runs.flags[i]), (a + b) / 2, row.top - 20, b - a, palette.text, NAME);
    text(c, hex(at), (a + b) / 2, row.top - 6, b - a, palette.muted, ADDRESS);
    last = b;
    named++;
  }
  if (named) return;
  // No range is wide enough for a name: where the view begins and ends.
  text(c, hex(Math.floor(row.axis.toPage(row.from))), LEFT, row.top - 6, 160, palette.muted, ADDRESS, "left");
  text(c, hex(Math.floor(row.axis.toPage(row.to))), width - RIGHT, row.top - 6, 160, palette.muted, ADDRESS, "right");
}
const regionNames = new Set(regions.map((region) => region.name));
/// 0xffff_8000…: the digits that tell areas apart.
const shortHex = (number) => { const digits = hex(number); return digits.length > 12 ? digits.slice(0, 9) + "…" : digits; };
function clusterName(from, to) {
  const region = regions.find((item) => item.first <= from && from <= item.last);
  if (region) return region.name;
  let bytes = 0;
  const first = Math.max(0, lastAtMost(runs.va, from, runs.count));
  for (let i = first; i < runs.count && runs.va[i] < to && i < first + 20000; i++) bytes += runs.pages[i] * 4096;
  return sizeName(bytes);
}

function hatch(c, x, y, w, h, colour) {
  c.save();
  c.beginPath();
  c.rect(x, y, w, h);
  c.clip();
  c.strokeStyle = colour;
  c.lineWidth = 1;
  c.beginPath();
  const from = Math.max(x, LEFT) - h, to = Math.min(x + w, width);
  for (let at = from - (from % 6); at < to; at += 6) { c.moveTo(at, y + h); c.lineTo(at + h, y); }
  c.stroke();
  c.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
  c.restore();
}

function box(c, row, first, pages, lines, isFaint) {
  const a = toX(row, row.axis.toU(first)), b = toX(row, row.axis.toU(first + pages - 0.001));
  if (b < LEFT || a > width - RIGHT) return;
  const x = Math.max(a, LEFT - 4), w = Math.max(1, Math.min(b, width + 4) - x);
  c.fillStyle = palette.box;
  c.strokeStyle = palette.boxline;
  c.lineWidth = 1;
  c.globalAlpha = isFaint ? 0.55 : 1;
  c.fillRect(x, row.top, w, row.height);
  if (isFaint) c.setLineDash([3, 3]);
  if (w > 3) c.strokeRect(x + 0.5, row.top + 0.5, w - 1, row.height - 1);
  c.setLineDash([]);
  c.globalAlpha = 1;
  const from = Math.max(a, LEFT), to = Math.min(b, width - RIGHT);
  // What is cut by the edge says where the view begins and ends.
  if (a < LEFT - 1 || b > width - RIGHT + 1) {
    const pageAt = (x) => Math.min(first + pages - 1, Math.max(first, Math.floor(row.axis.toPage(toPlace(row, x)))));
    lines[1] = `${hex(pageAt(from))} … ${hex(pageAt(to), 4095)}`;
  }
  const y = row.key === "gpa" ? row.top + 25 : row.top + 19;
  if (text(c, lines[0], (from + to) / 2, y, to - from - 6, palette.text, NAME) && to - from > 70) {
    text(c, lines[1], (from + to) / 2, y + 14, to - from - 6, palette.muted, ADDRESS);
  }
}
function physicalRow(c) {
  const row = rows[1];
  folds(c, row);
  for (const slot of slots) box(c, row, slot.gpa, slot.pages, [slot.name, hex(slot.gpa)]);
  for (const [first, end] of beside) {
    const run = runs.count ? besideKind(first) : "";
    box(c, row, first, end - first, [run, hex(first)], true);
  }
  bars(c, pixels(row, place.gpa.from, place.gpa.to, runs.count), row.top, 11);
}
const besideNames = new Map();
function besideKind(first) {
  if (besideNames.has(first)) return besideNames.get(first);
  let name = "";
  for (let i = 0; i < runs.count && !name; i++) {
    if (runs.gpa[i] === first) name = kindOf(i) === "mmio" ? "device" : kindOf(i) === "unbacked" ? "no RAM" : "";
  }
  besideNames.set(first, name || "no RAM");
  return besideNames.get(first);
}
function hostRow(c) {
  const row = rows[2];
  folds(c, row);
  for (const slot of slots) {
    if (slot.hva !== null) box(c, row, slot.hva, slot.pages, [`slot ${slot.id} ${slot.name}`, hex(slot.hva)]);
  }
}
function frameRow(c) {
  const row = rows[3];
  folds(c, row);
  const wide = Math.ceil(inner()) + 2, scale = inner() / (row.to - row.from);
  const found = new Int32Array(wide), large = new Int32Array(wide);
  for (let i = 0; i < host.count; i++) {
    if (host.hpa[i] < 0 || place.hpa.to[i] < row.from || place.hpa.from[i] > row.to) continue;
    const a = Math.max(0, Math.floor((place.hpa.from[i] - row.from) * scale));
    const b = Math.min(wide - 2, Math.max(a, Math.ceil((place.hpa.to[i] - row.from) * scale) - 1)) + 1;
    found[a]++;
    found[b]--;
    if (host.shift[i] > 12) { large[a]++; large[b]--; }
  }
  let here = 0, here2 = 0;
  for (let x = 0; x < wide; x++) {
    here += found[x];
    here2 += large[x];
    if (here > 0) {
      c.fillStyle = here2 > 0 ? sizeColour(21) : sizeColour(12);
      c.fillRect(LEFT + x, row.top, 1, row.height);
    }
  }
  let last = -Infinity;
  for (const [from, to] of raw.clusters.hpa) {
    const a = Math.max(LEFT, toX(row, row.axis.toU(from))), b = Math.min(width - RIGHT, toX(row, row.axis.toU(to - 0.001)));
    if (b < a || a < last) continue;
    const shown = row.axis.toU(from) < row.from ? Math.floor(row.axis.toPage(row.from)) : from;
    const room = 86;
    if (a + room < width - RIGHT && text(c, hex(shown), a, row.top + row.height + 15, room, palette.muted, ADDRESS, "left")) last = a + room;
  }
}

/// A ribbon from [a, b] at y0 to [p, q] at y1.
function ribbon(c, a, b, p, q, y0, y1) {
  const m = (y0 + y1) / 2;
  c.moveTo(a, y0);
  c.bezierCurveTo(a, m, p, m, p, y1);
  c.lineTo(q, y1);
  c.bezierCurveTo(q, m, b, m, b, y0);
  c.closePath();
}
/// Connections at most: fewer while something moves.
const LINES = 5000, QUICK_LINES = 1000;
let limit = LINES, settling = 0;
let seen = new Uint8Array(0);
/// Draws what leads from one row to the next. What begins and ends at the same pixels is one line; of more lines than can
/// be told apart every nth is drawn.
function wires(c, upper, lower, count, from, to, colourOf, classCount, colours) {
  const y0 = upper.top + upper.height, y1 = lower.top;
  const cells = Math.ceil(inner() / 2) + 2, below = cells;
  if (seen.length < cells * below) seen = new Uint8Array(cells * below); else seen.fill(0, 0, cells * below);
  const s0 = inner() / (upper.to - upper.from), s1 = inner() / (lower.to - lower.from);
  const thin = Array.from({ length: classCount }, () => []), broad = Array.from({ length: classCount }, () => []);
  let lines = 0, ranges = 0;
  for (let i = count[0]; i < count[1]; i++) {
    const k = colourOf(i);
    if (k < 0 || from.to[i] < upper.from || from.from[i] > upper.to) continue;
    ranges++;
    const a = (from.from[i] - upper.from) * s0, b = (from.to[i] - upper.from) * s0;
    const p = (to.from[i] - lower.from) * s1, q = (to.to[i] - lower.from) * s1;
    if (b - a > 2 || q - p > 2) {
      if (Math.max(a, b) < 0 || Math.min(p, q) > inner() * 3 || Math.max(p, q) < -inner() * 2) continue;
      // Far outside, coordinates lose their meaning: they are cut there.
      const cut = (v) => Math.max(-4000, Math.min(inner() + 4000, v));
      if (broad[k].length < 4 * 1500) broad[k].push(cut(a), cut(Math.max(b, a + 1)), cut(p), cut(Math.max(q, p + 1)));
      lines++;
    } else {
      const u = (a >> 1) + 1, v = (p >> 1) + 1;
      if (v < 0 || v >= below || u < 0 || u >= cells || seen[u * below + v]) continue;
      seen[u * below + v] = 1;
      thin[k].push(a + (b - a) / 2, p + (q - p) / 2);
      lines++;
    }
  }
  for (let k = 0; k < classCount; k++) {
    c.fillStyle = c.strokeStyle = colours[k];
    if (broad[k].length) {
      // Many on one another must not become a wall.
      c.globalAlpha = broad[k].length > 4 * 60 ? 0.12 : 0.24;
      for (let n = 0; n < broad[k].length; n += 4) {
        c.beginPath();
        ribbon(c, LEFT + broad[k][n], LEFT + broad[k][n + 1], LEFT + broad[k][n + 2], LEFT + broad[k][n + 3], y0, y1);
        c.fill();
      }
    }
    if (thin[k].length) {
      const step = Math.max(1, Math.ceil(lines / limit));
      c.globalAlpha = lines > 1500 ? 0.16 : lines > 300 ? 0.28 : 0.5;
      c.lineWidth = 1;
      c.beginPath();
      for (let n = 0; n < thin[k].length; n += 2 * step) {
        c.moveTo(LEFT + thin[k][n], y0);
        c.lineTo(LEFT + thin[k][n + 1], y1);
      }
      c.stroke();
    }
  }
  c.globalAlpha = 1;
  return { ranges, lines: Math.min(lines, limit) };
}
function virtualWires(c) {
  const colourOf = (i) => (passes[i] && (runs.kind[i] & 3) !== 3 ? classOf[i] : -1);
  return wires(c, rows[0], rows[1], visible(rows[0]), place.va, place.gpa, colourOf, classColours.length, classColours);
}
function slotWires(c) {
  const upper = rows[1], lower = rows[2];
  c.fillStyle = palette.muted;
  c.globalAlpha = 0.18;
  for (const slot of slots) {
    if (slot.hva === null) continue;
    const x = (row, page) => Math.max(-4000, Math.min(width + 4000, toX(row, row.axis.toU(page))));
    c.beginPath();
    ribbon(c, x(upper, slot.gpa), x(upper, slot.gpa + slot.pages - 0.001), x(lower, slot.hva), x(lower, slot.hva + slot.pages - 0.001),
      upper.top + upper.height, lower.top);
    c.fill();
  }
  c.globalAlpha = 1;
}
function frameWires(c) {
  const colours = [sizeColour(12), sizeColour(21)];
  wires(c, rows[2], rows[3], [0, host.count], place.hostVA, place.hpa, (i) => (host.hpa[i] < 0 ? -1 : host.shift[i] > 12 ? 1 : 0), 2, colours);
}

/// The way of the address under the pointer, or of the pinned one, across the rows.
function drawOver() {
  const c = over.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  const focus = state.hover || state.pinned;
  if (!focus) return;
  const points = [];
  const put = (key, number) => {
    const index = rowOf(key);
    if (index >= 0 && number !== null && number !== undefined) points[index] = toX(rows[index], rows[index].axis.toU(number + 0.5));
  };
  put("va", focus.va);
  put("gpa", focus.gpa);
  if (focus.gpa !== null && focus.gpa !== undefined) {
    const { hva, hpa } = behind(focus.gpa);
    put("hva", hva);
    put("hpa", hpa);
  }
  const inside = (x) => x >= LEFT - 1 && x <= width - RIGHT + 1;
  c.save();
  c.beginPath();
  c.rect(LEFT - 3, 0, inner() + 6, height);
  c.clip();
  // The other names of the same page.
  c.strokeStyle = palette.hot;
  for (const va of focus.aliases || []) {
    const x = toX(rows[0], rows[0].axis.toU(va + 0.5));
    if (points[1] === undefined || !inside(x) || va === focus.va) continue;
    c.globalAlpha = 0.55;
    c.setLineDash([3, 3]);
    c.lineWidth = 1.2;
    c.beginPath();
    c.moveTo(x, rows[0].top + rows[0].height);
    c.lineTo(points[1], rows[1].top);
    c.stroke();
    c.setLineDash([]);
    c.globalAlpha = 1;
    c.fillStyle = palette.hot;
    c.fillRect(x - 1, rows[0].top, 2, rows[0].height);
  }
  c.lineWidth = 1.8;
  rows.forEach((row, i) => {
    if (points[i] === undefined) return;
    c.fillStyle = palette.hot;
    c.fillRect(points[i] - 1, row.top - 3, 2, row.height + 6);
    if (i + 1 < rows.length && points[i + 1] !== undefined) {
      c.beginPath();
      c.moveTo(points[i], row.top + row.height);
      c.lineTo(points[i + 1], rows[i + 1].top);
      c.stroke();
    }
  });
  c.restore();
}
