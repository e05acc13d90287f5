// What is written beside and below the picture. Names come from guests: they are put in as text, never as markup.

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "click") node.addEventListener("click", value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// MARK: Head

function showHead() {
  $("target").textContent = raw.target;
  const words = [];
  if (raw.layout) words.push("layout " + raw.layout);
  words.push(`${raw.mode} tables, root ${raw.root}`, raw.moment);
  if (raw.memory) words.push("memory by " + raw.memory);
  if (raw.pid) words.push("process " + raw.pid);
  words.push(`${plural(raw.leaves, "leaf").replace("leafs", "leaves")} in ${plural(raw.tableCount, "table")}`);
  if (raw.pausedMicroseconds !== undefined) words.push(`vCPUs stood still for ${(raw.pausedMicroseconds / 1000).toFixed(3)} ms`);
  if (raw.made) words.push(raw.made);
  $("about").textContent = words.join(" · ");
  over.setAttribute("aria-label",
    `Picture of the mappings of ${raw.target}: ${rows.map((row) => row.name).join(", ")}. Arrow keys move and change the `
    + "row, plus and minus zoom, n and p go to the next and previous range, Enter pins, 0 shows all.");
}

function showLegend() {
  const items = [];
  const item = (colour, words, style = "") => {
    const swatch = element("i");
    swatch.style.cssText = `background:${colour};${style}`;
    items.push(element("span", {}, swatch, words));
  };
  if (state.colour === "access") {
    item(palette.ro, "read");
    item(palette.rx, "read, execute");
    item(palette.rw, "read, write");
    item(palette.wx, "write and execute");
  } else {
    for (const shift of shifts) item(sizeColour(shift), shiftName(shift) + " pages");
  }
  item(palette.user, "user", "height:5px;vertical-align:3px");
  item(state.colour === "access" ? palette.rw : sizeColour(21), "nothing behind it", "opacity:.42");
  if (runs.kind.some((kind) => (kind & 3) === 3)) item("transparent", "not present, but means something", `border:1px dashed ${palette.muted}`);
  if (repeats.length) item(`repeating-linear-gradient(135deg,${palette.muted} 0 1px,transparent 1px 4px)`, "a table that is there again");
  items.push(element("span", {}, element("b", {}, "//"), state.scale === "true" ? " what is no address" : " a gap drawn shorter than it is"));
  if (state.scale === "folded") items.push(element("span", {}, "within a cluster ranges are to scale; clusters by the logarithm of what is mapped"));
  $("legend").replaceChildren(...items);
}

// MARK: The way of an address

function showDetail() {
  const panel = $("detail");
  const focus = state.pinned || state.hover;
  if (!focus) { panel.replaceChildren(...hint()); return; }
  const list = element("ol");
  const rung = (name, value, remark, style = "") =>
    list.append(element("li", { class: style }, element("b", {}, name), value, remark ? element("span", {}, remark) : null));
  const actions = element("div", { class: "actions" });
  if (focus.va !== null && focus.va !== undefined) virtualRungs(focus, rung, actions);
  const gpa = focus.gpa;
  if (gpa !== null && gpa !== undefined) physicalRungs(focus, gpa, rung);
  const heading = focus.va !== null && focus.va !== undefined ? hex16(focus.va, focus.offset) : gpa !== null && gpa !== undefined ? "PA " + hex(gpa, focus.offset) : hex(focus.page, focus.offset);
  const small = focus.many > 1 ? `one of ${grouped(focus.many)} ranges in this pixel` : state.pinned ? "pinned, Esc lets go" : "";
  const children = [element("h2", {}, heading, small ? element("small", {}, small) : null), list];
  if (gpa !== null && gpa !== undefined) children.push(aliasList(focus, gpa));
  if (state.pinned) children.push(actions);
  panel.replaceChildren(...children);
}
function virtualRungs(focus, rung, actions) {
  const way = wayOf(focus.va, focus.offset);
  const i = way.run;
  const region = regions.find((item) => item.first <= focus.va && focus.va <= item.last);
  rung("VA", hex(focus.va, focus.offset), region ? region.name : "", "stop");
  for (const step of way.steps) {
    rung(`${step.name}[${step.index}]`, step.value === undefined ? "not present" : "0x" + step.value.toString(16),
      `at 0x${step.at.toString(16)}` + (step.bits && step.bits.length ? "  " + step.bits.join(" ") : ""),
      step.value === undefined ? "bad" : "");
  }
  if (way.again) rung("again", `table ${way.again.table}`, `as at ${hex(way.again.as)}, ${plural(way.again.count, "time")}`);
  if (i < 0) {
    if (!way.again) rung("", "not mapped", raw.partial ? "or left out by --filter or --range" : "", "bad");
    return;
  }
  if (way.gpa === null) { rung("", "not present", meaningOf(i) || "", "bad"); return; }
  const last = runs.va[i] + runs.pages[i] - 1;
  rung("range", `${hex(runs.va[i])}-${hex(last, 4095)}`,
    `${sizeName(runs.pages[i] * 4096)} in ${shiftName(runs.shift[i])} pages, ${flagText(runs.flags[i])}, ${kindOf(i)}`
      + (meaningOf(i) ? ", " + meaningOf(i) : "") + (isRepeating(i) ? ", one page again and again" : "")
      + (runs.flags[i] & RESERVED ? ", reserved bits set: faults" : ""),
    (runs.flags[i] & (WRITE | EXEC)) === (WRITE | EXEC) ? "bad" : "");
  actions.append(element("button", { type: "button", click: () => reveal("va", runs.va[i], runs.pages[i]) }, "Zoom to the range"));
}
function physicalRungs(focus, gpa, rung) {
  const { slot, hva, hpa, host: h } = behind(gpa);
  rung("GPA", hex(gpa, focus.offset), slot ? "" : "no slot: no RAM there", "stop");
  if (slot) rung(`slot ${slot.id}`, slot.name, `GPA ${hex(slot.gpa)} + ${hex(gpa - slot.gpa, focus.offset)}`);
  if (hva !== null) rung("HVA", hex(hva, focus.offset), raw.pid ? `in process ${raw.pid}` : "", "stop");
  if (hva === null || !slot) return;
  if (hpa !== null) rung("HPA", hex(hpa, focus.offset), `in a ${shiftName(host.shift[h])} page of the host`, "stop");
  else if (host) rung("HPA", "none", h < 0 ? "the host has no frame there" : host.swapped[h] ? "swapped out" : "frame numbers are for root");
}
function aliasList(focus, gpa) {
  if (!focus.names) {
    const { found, count } = aliasesOf(gpa);
    focus.names = found;
    focus.nameCount = count;
  }
  const box = element("dl");
  if (focus.nameCount <= 1 && focus.va !== null && focus.va !== undefined) return box;
  box.append(element("dt", { class: "dim" }, `${plural(focus.nameCount, "virtual address").replace("addresss", "addresses")} of this page`));
  for (const va of focus.names) {
    box.append(element("dd", {}, element("button", { type: "button", class: "link", click: () => pinVirtual(va, focus.offset) }, hex16(va, focus.offset))));
  }
  if (focus.nameCount > focus.names.length) box.append(element("dd", { class: "dim" }, `and ${grouped(focus.nameCount - focus.names.length)} more`));
  return box;
}
function hint() {
  const keys = [
    ["wheel, + −", "zoom into the row under the pointer"], ["drag, ← →", "move"], ["↑ ↓", "another row"],
    ["click, Enter", "pin an address"], ["n, p", "next, previous range"], ["0", "show everything"], ["/", "search"],
    ["Esc", "let go"],
  ];
  const list = element("dl", { class: "hint" });
  for (const [key, what] of keys) list.append(element("dt", {}, key), element("dd", {}, what));
  const out = [element("h2", {}, "Point at an address"), element("p", { class: "hint" }, "to see its way: every table entry, the memory slot, the host."), list];
  for (const note of raw.notes) out.push(element("p", { class: "hint" }, "Note: " + note + "."));
  if (raw.findings.length) {
    out.push(element("h2", {}, plural(raw.findings.length, "finding")));
    for (const finding of raw.findings.slice(0, 8)) out.push(element("p", { class: "hint" }, finding));
  }
  return out;
}

// MARK: The table of ranges

const LINE = 22;
let shownFrom = 0, shownTo = 0;
/// Which of the ranges that pass the filter are in view.
function inView() {
  const row = rows[0];
  const [first, end] = visible(row);
  shownFrom = lastAtMost(order, first - 1) + 1;
  shownTo = lastAtMost(order, end - 1) + 1;
}
let shownKey = "";
function showRows() {
  inView();
  const scroll = $("scroll"), count = shownTo - shownFrom;
  const key = `${shownFrom} ${shownTo} ${order.length}`;
  if (key !== shownKey) {
    shownKey = key;
    // Browsers have an end to how high an element may be.
    $("space").style.height = Math.min(count * LINE, 8e6) + "px";
    $("scroll").setAttribute("aria-rowcount", count);
  }
  const whole = Math.min(count * LINE, 8e6);
  const part = whole > scroll.clientHeight ? scroll.scrollTop / (whole - scroll.clientHeight) : 0;
  const lines = Math.ceil(scroll.clientHeight / LINE) + 1;
  const first = Math.max(0, Math.min(count - lines + 1, Math.round((part * Math.max(0, count * LINE - scroll.clientHeight)) / LINE)));
  const list = $("rows");
  list.style.transform = `translateY(${Math.min(scroll.scrollTop, Math.max(0, whole - scroll.clientHeight))}px)`;
  const nodes = [];
  for (let n = first; n < Math.min(count, first + lines); n++) nodes.push(rangeRow(order[shownFrom + n]));
  list.replaceChildren(...nodes);
}
function rangeRow(i) {
  const flags = runs.flags[i], absent = (runs.kind[i] & 3) === 3;
  const isWX = (flags & (WRITE | EXEC)) === (WRITE | EXEC);
  const node = element("div", { class: "row" + (state.pinned && state.pinned.run === i ? " on" : ""), role: "row" },
    cell(`${hex16(runs.va[i])}-${hex16(runs.va[i] + runs.pages[i] - 1, 4095)}`), cell(sizeName(runs.pages[i] * 4096)),
    cell(shiftName(runs.shift[i])), cell(absent ? "-" : hex(runs.gpa[i])),
    cell(flagText(flags), isWX ? "wx" : flags & USER ? "us" : ""), cell(kindOf(i), kindOf(i) === "ram" ? "" : "dim"),
    cell([regionOf(i), meaningOf(i), isRepeating(i) ? "(one page)" : ""].filter((word) => word).join(" ")));
  node.addEventListener("click", () => pinVirtual(runs.va[i]));
  node.addEventListener("dblclick", () => reveal("va", runs.va[i], runs.pages[i]));
  return node;
}
const cell = (text, style = "") => element("span", { role: "cell", class: style }, text);

function showStatus() {
  const count = shownCount();
  let bytes = 0;
  for (let n = shownFrom; n < shownTo && n < shownFrom + 500000; n++) if ((runs.kind[order[n]] & 3) !== 3) bytes += runs.pages[order[n]];
  const words = [element("strong", {}, plural(count, "range")), ` in view, ${sizeName(bytes * 4096)} mapped`];
  if (count < runs.count) words.push(` (of ${grouped(runs.count)})`);
  if (state.drawn && state.drawn.lines < state.drawn.ranges) words.push(`; ${grouped(state.drawn.ranges)} connections drawn as ${grouped(state.drawn.lines)}: zoom in for each`);
  if (raw.notes.length) words.push("; " + raw.notes.join("; "));
  $("status").replaceChildren(...words);
}
function shownCount() { inView(); return shownTo - shownFrom; }
