// What the page is about: columns of numbers, decoded once. Addresses are page numbers (address / 4096): 52 bits, which a
// Number holds exactly.

const raw = JSON.parse(document.getElementById("data").textContent);

function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
const f64 = (text) => new Float64Array(bytesOf(text).buffer);
const u32 = (text) => new Uint32Array(bytesOf(text).buffer);
const u16 = (text) => new Uint16Array(bytesOf(text).buffer);
const u8 = bytesOf;

/// Ranges of virtual addresses, ascending.
const runs = {
  count: raw.ranges.count, va: f64(raw.ranges.va), pages: f64(raw.ranges.pages), gpa: f64(raw.ranges.gpa),
  shift: u8(raw.ranges.shift), flags: u8(raw.ranges.flags), kind: u8(raw.ranges.kind), region: u16(raw.ranges.region),
  meaning: u8(raw.ranges.meaning), bits: u32(raw.ranges.bits),
};
const USER = 1, READ = 2, WRITE = 4, EXEC = 8, RESERVED = 128, REPEATS = 128;
const kinds = ["ram", "mmio", "unbacked", "absent"];
const regions = raw.regions.map((region) => ({ name: region.name, first: page(region.first), last: page(region.last) }));
const repeats = raw.repetitions.map((item) => ({
  va: page(item.va), pages: item.size / 4096, coverage: item.size / item.count / 4096, count: item.count,
  as: page(item.as), table: item.table, level: item.level, leaves: item.leaves, flags: item.flags,
}));
/// Entries that refer to tables, by level: the address bits that lead there, ascending, and their values.
const links = raw.links.map((item) => ({
  level: item.level, key: f64(item.key), value: new BigUint64Array(bytesOf(item.value).buffer),
}));
const slots = raw.slots.map((slot) => ({
  id: slot.id, name: slot.name, gpa: page(slot.gpa), pages: slot.size / 4096, hva: slot.hva ? page(slot.hva) : null,
}));
/// What the host has, by guest physical address.
const host = raw.host && {
  count: raw.host.count, gpa: f64(raw.host.gpa), pages: f64(raw.host.pages), hpa: f64(raw.host.hpa),
  shift: u8(raw.host.shift), swapped: u8(raw.host.swapped),
};

/// The number of the page of an address in text.
function page(text) { return Number(BigInt(text) >> 12n); }
/// An address in text, of a page number and a byte in that page.
function hex(number, offset = 0) {
  return "0x" + ((BigInt(number) << 12n) + BigInt(offset)).toString(16);
}
function hex16(number, offset = 0) { return "0x" + hex(number, offset).slice(2).padStart(16, "0"); }
function sizeName(bytes) {
  for (const [unit, name] of [[2 ** 40, "T"], [2 ** 30, "G"], [2 ** 20, "M"], [2 ** 10, "K"]]) {
    if (bytes >= unit) {
      const value = bytes / unit;
      return (value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)) + name;
    }
  }
  return String(bytes);
}
const shiftName = (shift) => sizeName(2 ** shift);
function flagText(flags, absent = "-") {
  let text = "";
  for (let i = 0; i < 7; i++) text += flags & (1 << i) ? "urwxgad"[i] : absent;
  return text;
}
const grouped = (number) => number.toLocaleString("en-US");
const plural = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
const isRepeating = (i) => (runs.kind[i] & REPEATS) !== 0;
const kindOf = (i) => kinds[runs.kind[i] & 3];
const regionOf = (i) => (runs.region[i] === 0xffff ? "" : raw.regionNames[runs.region[i]]);
const meaningOf = (i) => (runs.meaning[i] === 0xff ? "" : raw.meanings[runs.meaning[i]]);
/// Pages of physical addresses behind a range.
const physicalPages = (i) => (isRepeating(i) ? 2 ** (runs.shift[i] - 12) : runs.pages[i]);

/// The last index whose value is at most `wanted`, or -1.
function lastAtMost(values, wanted, count = values.length) {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] <= wanted) low = middle + 1; else high = middle;
  }
  return low - 1;
}
/// The range that holds a virtual page, or -1.
function runAt(va) {
  const i = lastAtMost(runs.va, va, runs.count);
  return i >= 0 && va < runs.va[i] + runs.pages[i] ? i : -1;
}
function repetitionAt(va) { return repeats.find((item) => item.va <= va && va < item.va + item.pages); }
function slotAt(gpa) { return slots.find((slot) => slot.gpa <= gpa && gpa < slot.gpa + slot.pages); }
function hostAt(gpa) {
  if (!host) return -1;
  const i = lastAtMost(host.gpa, gpa, host.count);
  return i >= 0 && gpa < host.gpa[i] + host.pages[i] ? i : -1;
}
/// Every virtual page that reaches a physical one: the first of them and how many there are.
function aliasesOf(gpa, limit = 12) {
  const found = [];
  let count = 0;
  for (let i = 0; i < runs.count; i++) {
    if ((runs.kind[i] & 3) === 3 || gpa < runs.gpa[i] || gpa >= runs.gpa[i] + physicalPages(i)) continue;
    count += isRepeating(i) ? runs.pages[i] / physicalPages(i) : 1;
    if (found.length < limit) found.push(runs.va[i] + (gpa - runs.gpa[i]));
  }
  return { found, count };
}

/// The way of a virtual address: every entry, and what follows from the last.
function wayOf(va, offset = 0) {
  const format = raw.format;
  const again = repetitionAt(va);
  const other = again ? again.as + ((va - again.va) % again.coverage) : va;
  const run = runAt(other);
  const way = { va, offset, run, again, steps: [], gpa: null };
  let table = BigInt(raw.root);
  for (let number = format.levels.length; number > 0; number--) {
    const level = format.levels[number - 1];
    const address = again && number <= again.level ? other : va;
    const key = Math.floor(address / 2 ** (level.shift - 12));
    const index = key % 2 ** level.bits;
    const step = { level: number, name: level.name, index, at: table + BigInt(index * format.entrySize) };
    way.steps.push(step);
    const list = links.find((item) => item.level === number);
    const place = list ? lastAtMost(list.key, key) : -1;
    if (place >= 0 && list.key[place] === key) {
      step.value = list.value[place];
      step.bits = bitNames(step.value, number, false);
      table = step.value & BigInt(level.tableMask);
      continue;
    }
    if (run < 0) { way.missing = number; break; }
    const inside = other - runs.va[run];
    const size = 2 ** (runs.shift[run] - 12);
    const gpa = runs.gpa[run] + (isRepeating(run) ? inside % size : inside);
    const rule = level.leaves.find((rule) => rule.shift === runs.shift[run]);
    const start = BigInt(gpa - (inside % size)) << 12n;
    step.value = BigInt(raw.leafBits[runs.bits[run]]);
    if (rule && runs.gpa[run] >= 0) {
      step.value |= (start & BigInt(rule.mask)) | ((start >> BigInt(rule.highShift)) & BigInt(rule.highMask))
        | ((start >> BigInt(rule.topShift)) & BigInt(rule.topMask));
    }
    step.bits = bitNames(step.value, number, true);
    if ((runs.kind[run] & 3) === 3) way.missing = number; else way.gpa = gpa;
    break;
  }
  return way;
}
function bitNames(value, level, isLeaf) {
  return raw.format.bits.filter((bit) =>
    (value & BigInt(bit.mask)) !== 0n && bit.from <= level && level <= bit.to && (bit.leaf === null || bit.leaf === isLeaf)
  ).map((bit) => bit.name);
}
/// What lies behind a physical page: slot, host virtual page, host physical page.
function behind(gpa) {
  const slot = slotAt(gpa);
  const hva = slot && slot.hva !== null ? slot.hva + (gpa - slot.gpa) : null;
  const i = hostAt(gpa);
  const hpa = i >= 0 && host.hpa[i] >= 0 ? host.hpa[i] + (gpa - host.gpa[i]) : null;
  return { slot, hva, hpa, host: i };
}
