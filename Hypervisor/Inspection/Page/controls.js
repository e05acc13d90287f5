// Pointer, keys, search, filter, and what happens first.

// MARK: Focus on an address

/// What is at a place of a row.
function focusAt(index, x) {
  const row = rows[index], u = toPlace(row, x);
  const exact = row.axis.toPage(u);
  const number = Math.floor(exact), offset = Math.min(4095, Math.floor((exact - number) * 4096));
  if (row.key === "va") {
    const perPixel = (row.to - row.from) / inner();
    let run = runAt(number), many = 0;
    const low = lastAtMost(place.va.from, u - perPixel * 1.5), high = lastAtMost(place.va.from, u + perPixel * 1.5);
    many = high - low;
    let va = number, byte = offset;
    // What is narrower than a pixel is found by the pixel.
    if (run < 0) {
      let best = perPixel * 2.5;
      for (let i = Math.max(0, low); i <= high && i < low + 4000; i++) {
        const far = Math.max(place.va.from[i] - u, u - place.va.to[i], 0);
        if (passes[i] && far < best) { best = far; run = i; va = runs.va[i]; byte = 0; }
      }
    }
    if (run < 0 && repetitionAt(number) === undefined && row.axis.isFold(u)) return null;
    return virtualFocus(va, byte, many);
  }
  let gpa = null;
  if (row.key === "gpa") {
    gpa = number;
    if (!slotAt(gpa) && !beside.some(([first, end]) => first <= gpa && gpa < end)) return null;
  } else if (row.key === "hva") {
    const slot = slots.find((slot) => slot.hva !== null && slot.hva <= number && number < slot.hva + slot.pages);
    if (!slot) return null;
    gpa = slot.gpa + (number - slot.hva);
  } else {
    const perPixel = (row.to - row.from) / inner();
    let best = -1;
    for (let i = 0; i < host.count; i++) {
      if (host.hpa[i] < 0) continue;
      if (host.hpa[i] <= number && number < host.hpa[i] + host.pages[i]) { best = i; break; }
      if (best < 0 && Math.abs(place.hpa.from[i] - u) < perPixel * 1.5) best = i;
    }
    if (best < 0) return null;
    const inside = Math.min(host.pages[best] - 1, Math.max(0, number - host.hpa[best]));
    gpa = host.gpa[best] + inside;
  }
  return physicalFocus(gpa, offset);
}
function virtualFocus(va, offset = 0, many = 0) {
  const way = wayOf(va, offset);
  const focus = { va, offset, gpa: way.gpa, run: way.run, many };
  if (way.gpa !== null) {
    const { found, count } = aliasesOf(way.gpa);
    focus.names = found;
    focus.nameCount = count;
    focus.aliases = found;
  }
  return focus;
}
function physicalFocus(gpa, offset = 0) {
  const { found, count } = aliasesOf(gpa);
  return { va: found.length ? found[0] : null, gpa, offset, run: found.length ? runAt(found[0]) : -1, names: found, nameCount: count, aliases: found };
}
function pin(focus) {
  state.pinned = focus;
  state.hover = null;
  drawOver();
  showDetail();
  showRows();
}
function pinVirtual(va, offset = 0) {
  pin(virtualFocus(va, offset));
  const row = rows[0], u = row.axis.toU(va + 0.5);
  if (u < row.from || u > row.to) show(0, u - (row.to - row.from) / 2, u + (row.to - row.from) / 2);
}

// MARK: Pointer

let drag = null;
over.addEventListener("wheel", (event) => {
  event.preventDefault();
  const index = rowAt(event.offsetY);
  state.row = index;
  const unit = event.deltaMode === 1 ? 16 : 1;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(index, (event.deltaX || event.deltaY) * unit);
  else zoom(index, Math.exp(Math.max(-60, Math.min(60, event.deltaY * unit)) * 0.006), event.offsetX);
}, { passive: false });
over.addEventListener("pointerdown", (event) => {
  state.row = rowAt(event.offsetY);
  drag = { x: event.offsetX, moved: false, row: state.row };
  over.setPointerCapture(event.pointerId);
});
over.addEventListener("pointermove", (event) => {
  if (drag) {
    const by = drag.x - event.offsetX;
    if (!drag.moved && Math.abs(by) < 4) return;
    drag.moved = true;
    over.classList.add("drag");
    pan(drag.row, by);
    drag.x = event.offsetX;
    return;
  }
  hoverAt(event.offsetX, event.offsetY);
});
function hoverAt(x, y) {
  state.hover = x < LEFT ? null : focusAt(rowAt(y), x);
  drawOver();
  if (!state.pinned) showDetail();
}
over.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) {
    const focus = event.offsetX < LEFT ? null : focusAt(drag.row, event.offsetX);
    pin(focus);
    redraw();
  }
  drag = null;
  over.classList.remove("drag");
});
over.addEventListener("pointercancel", () => { drag = null; over.classList.remove("drag"); });
over.addEventListener("pointerleave", () => { state.hover = null; drawOver(); if (!state.pinned) showDetail(); });
over.addEventListener("dblclick", (event) => zoom(rowAt(event.offsetY), 0.2, event.offsetX));
over.addEventListener("focus", redraw);
over.addEventListener("blur", redraw);

// MARK: Keys

/// To the next range that passes the filter, or the one before.
function step(by) {
  const at = state.pinned && state.pinned.run >= 0 ? state.pinned.run : by > 0 ? visible(rows[0])[0] - 1 : visible(rows[0])[1];
  const n = by > 0 ? lastAtMost(order, at) + 1 : lastAtMost(order, at - 1);
  if (n >= 0 && n < order.length) pinVirtual(runs.va[order[n]]);
}
over.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const by = inner() / 10;
  const keys = {
    "+": () => zoom(state.row, 0.5), "=": () => zoom(state.row, 0.5), "-": () => zoom(state.row, 2), "0": fit, Home: fit,
    ArrowLeft: () => pan(state.row, -by), ArrowRight: () => pan(state.row, by),
    ArrowUp: () => { state.row = Math.max(0, state.row - 1); redraw(); },
    ArrowDown: () => { state.row = Math.min(rows.length - 1, state.row + 1); redraw(); },
    n: () => step(1), p: () => step(-1),
    Enter: () => { if (state.pinned && state.pinned.run >= 0) reveal("va", runs.va[state.pinned.run], runs.pages[state.pinned.run]); else step(1); },
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { pin(null); redraw(); }
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("search").focus();
  }
});

// MARK: Search

/// Goes to an address (`0x...`, `pa:`, `hva:`, `hpa:`) or to a region or slot by its name; false: nothing is found.
let hits = { text: "", next: 0 };
function search(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return false;
  const match = /^(?:(va|pa|gpa|hva|hpa):)?(?:0x)?([0-9a-f_]+)$/.exec(wanted);
  const named = [
    ...regions.filter((region) => region.name.toLowerCase().includes(wanted)).map((region) => () => toRegion(region)),
    ...slots.filter((slot) => slot.name.toLowerCase().includes(wanted)).map((slot) => () => { reveal("gpa", slot.gpa, slot.pages); return true; }),
  ];
  if (named.length && !(match && (match[1] || wanted.startsWith("0x")))) {
    hits = { text: wanted, next: hits.text === wanted ? (hits.next + 1) % named.length : 0 };
    return named[hits.next]();
  }
  const digits = match && match[2].replaceAll("_", "");
  if (!digits || digits.length > 16) return false;
  const value = BigInt("0x" + digits), number = Number(value >> 12n), offset = Number(value & 4095n);
  const kind = match[1] || "va";
  let focus = null;
  if (kind === "va") {
    focus = virtualFocus(number, offset);
    pin(focus);
    if (focus.run < 0) return true;
    const pages = Math.min(runs.pages[focus.run], 64);
    reveal("va", Math.max(runs.va[focus.run], number - pages / 2), pages);
    return true;
  }
  if (kind === "hva") {
    const slot = slots.find((slot) => slot.hva !== null && slot.hva <= number && number < slot.hva + slot.pages);
    if (slot) focus = physicalFocus(slot.gpa + (number - slot.hva), offset);
  } else if (kind === "hpa") {
    for (let i = 0; host && i < host.count; i++) {
      if (host.hpa[i] >= 0 && host.hpa[i] <= number && number < host.hpa[i] + host.pages[i]) {
        focus = physicalFocus(host.gpa[i] + (number - host.hpa[i]), offset);
        break;
      }
    }
  } else {
    focus = physicalFocus(number, offset);
  }
  if (!focus) return false;
  pin(focus);
  reveal("gpa", focus.gpa - 32, 64);
  return true;
}
function toRegion(region) {
  const first = lastAtMost(runs.va, region.first - 1, runs.count) + 1, end = lastAtMost(runs.va, region.last, runs.count) + 1;
  if (first >= end) return false;
  const from = rows[0].axis.toU(runs.va[first]), to = rows[0].axis.toU(runs.va[end - 1] + runs.pages[end - 1] - 0.001);
  show(0, from - (to - from) * 0.05, to + (to - from) * 0.05);
  return true;
}
$("tools").addEventListener("submit", (event) => event.preventDefault());
$("search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  const found = search($("search").value);
  $("search").setCustomValidity(found ? "" : "nothing of that name, or no such address");
  if (!found) $("search").reportValidity();
});
$("search").addEventListener("input", () => $("search").setCustomValidity(""));

// MARK: Filter and choices

function chip(parent, words, set, value, about) {
  const box = element("input", { type: "checkbox", "aria-label": about || words });
  box.addEventListener("change", () => {
    if (box.checked) set.add(value); else set.delete(value);
    filtered();
  });
  parent.append(element("label", { class: "chip", title: about || words }, box, element("span", {}, words)));
}
function filtered() {
  applyFilter();
  $("f-clear").hidden = !isFiltered();
  if (state.follow) for (let i = 0; i + 1 < rows.length; i++) followFrom(i);
  redraw();
}
function buildFilter() {
  const access = $("f-access");
  chip(access, "user", filter.access, "user", "what ring 3 may use");
  chip(access, "kernel", filter.access, "kernel", "what ring 3 may not use");
  for (const [name, words, about] of [["ro", "R", "read only"], ["rx", "RX", "read and execute"], ["rw", "RW", "read and write"], ["wx", "W+X", "write and execute"]]) {
    chip(access, words, filter.access, name, about);
  }
  for (const shift of shifts) chip($("f-size"), shiftName(shift), filter.size, shift, shiftName(shift) + " pages");
  kinds.forEach((kind, number) => {
    if (runs.kind.some((value) => (value & 3) === number)) chip($("f-kind"), kind, filter.kind, number);
  });
  const names = [...new Set(Array.from(runs.region))].filter((n) => n !== 0xffff).map((n) => raw.regionNames[n]);
  $("f-region").append(element("option", { value: "" }, "all"), ...names.map((name) => element("option", { value: name }, name)));
  $("f-region").disabled = names.length === 0;
  $("f-region").addEventListener("change", () => { filter.region = $("f-region").value; filtered(); });
  $("f-clear").addEventListener("click", () => {
    filter.access.clear();
    filter.size.clear();
    filter.kind.clear();
    filter.region = "";
    for (const box of document.querySelectorAll(".chip input")) box.checked = false;
    $("f-region").value = "";
    filtered();
  });
}
$("colour").addEventListener("change", () => { state.colour = $("colour").value; classify(); showLegend(); redraw(); });
$("scale").addEventListener("change", () => { state.scale = $("scale").value; layOut(); showLegend(); redraw(); });
$("follow").addEventListener("change", () => { state.follow = $("follow").checked; });
$("in").addEventListener("click", () => zoom(state.row, 0.5));
$("out").addEventListener("click", () => zoom(state.row, 2));
$("fit").addEventListener("click", fit);
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  readColours();
  classify();
  showLegend();
  redraw();
}
$("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
$("scroll").addEventListener("scroll", showRows);
new ResizeObserver(() => { if ($("stage").clientWidth !== width) { placeRows(); draw(); } else { over.style.top = map.offsetTop + "px"; showRows(); } }).observe(document.body);

// MARK: First

document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
readColours();
layOut();
classify();
buildFilter();
showHead();
showLegend();
$("head").append(...["virtual addresses", "size", "page", "physical", "flags", "kind", "region"].map((word) => element("span", {}, word)));
placeRows();
draw();
write();
showDetail();
const openedAfter = performance.now();
/// What is behind `#` is searched for: a link can name an address.
function followHash() {
  const text = decodeURIComponent(location.hash.slice(1));
  if (text && text !== "selftest") search(text);
}
try { followHash(); } catch { /* a malformed escape: nothing to go to */ }
addEventListener("hashchange", () => { try { followHash(); } catch { /* the same */ } });
