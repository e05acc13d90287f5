// With #selftest behind its address the page tries itself: what it did and found is in the element `selftest`, as JSON.
// The tests of Inspection compare it with what `vitrine translate` says of the same tables.

function selfTest() {
  const result = { openedAfter: Math.round(openedAfter), ranges: runs.count, checks: {}, ways: [] };
  const check = (name, isSo) => { result.checks[name] = Boolean(isSo); };
  const span = (i) => rows[i].to - rows[i].from;
  const middle = rows[0].top + 5;

  // The way of the first and the last page of some ranges.
  const every = Math.max(1, Math.floor(runs.count / 60));
  for (let i = 0; i < runs.count; i += every) {
    for (const va of new Set([runs.va[i], runs.va[i] + runs.pages[i] - 1])) {
      const way = wayOf(va, 0x123);
      const { slot, hva, hpa } = way.gpa === null ? {} : behind(way.gpa);
      result.ways.push({
        va: hex(va, 0x123), mapped: way.gpa !== null, entries: way.steps.map((step) => ({
          level: step.level, at: "0x" + step.at.toString(16), value: step.value === undefined ? null : "0x" + step.value.toString(16),
          bits: step.bits || [] })),
        gpa: way.gpa === null ? null : hex(way.gpa, 0x123), slot: slot ? slot.id : null,
        hva: hva === null || hva === undefined ? null : hex(hva, 0x123), hpa: hpa === null || hpa === undefined ? null : hex(hpa, 0x123),
      });
    }
  }

  if (runs.count) {
    const wheel = (deltaY, x) => over.dispatchEvent(new WheelEvent("wheel", { deltaY, clientX: over.getBoundingClientRect().left + x,
      clientY: over.getBoundingClientRect().top + middle, bubbles: true, cancelable: true }));
    const key = (name) => over.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
    wheel(-100, width / 2);
    check("wheel zooms in", span(0) < 0.99);
    const place = rows[0].from;
    key("ArrowRight");
    check("the arrow moves", rows[0].from > place);
    key("-");
    key("-");
    check("minus zooms out", span(0) > 0.99);
    $("in").click();
    check("the button zooms in", span(0) < 0.6);
    key("0");
    check("0 shows all", span(0) === 1 && span(1) === 1);

    key("n");
    check("n pins the first range", state.pinned && state.pinned.run === 0);
    draw();
    write();
    check("the way is shown", $("detail").textContent.includes(raw.format.levels[raw.format.levels.length - 1].name));
    const last = runs.count - 1;
    check("an address is found", search(hex(runs.va[last], 16)) && state.pinned.run === last && state.pinned.offset === 16);
    draw();
    write();
    check("the table follows", shownCount() < runs.count || runs.count === 1);
    check("the range is in the table", $("rows").textContent.includes(hex16(runs.va[last])));
    if (regions.length && regionOf(0)) {
      fit();
      check("a region is found", search(regionOf(0)) && runs.va[0] >= Math.floor(rows[0].axis.toPage(rows[0].from)) - 1);
    }
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    check("Escape lets go", state.pinned === null);

    fit();
    const boxes = [...document.querySelectorAll("#f-size .chip input")];
    boxes[0].click();
    draw();
    write();
    write();
    const expected = runs.shift.reduce((count, shift) => count + (shift === shifts[0] ? 1 : 0), 0);
    check("a filter leaves some", shownCount() === expected);
    $("f-clear").click();
    check("clearing shows all", shownCount() === runs.count);
    for (const scale of ["ranges", "true", "folded"]) {
      $("scale").value = scale;
      $("scale").dispatchEvent(new Event("change"));
      const row = rows[0];
      // There and back again, and nothing out of order.
      let fits = true, before = -1;
      for (let i = 0; i < runs.count; i += every) {
        const u = row.axis.toU(runs.va[i]);
        if (u < before || u < 0 || u > 1) fits = false;
        // Wide enough to come back exactly: not in the true scale of a wide address space.
        const wide = row.axis.toU(runs.va[i] + runs.pages[i] - 0.001) - u > 1e-9;
        if (wide && runAt(Math.floor(row.axis.toPage(u + 1e-13) + 1e-6)) !== i) fits = false;
        before = u;
      }
      check(`places of the scale ${scale}`, fits);
    }
    $("colour").value = "size";
    $("colour").dispatchEvent(new Event("change"));
    check("the legend names page sizes", $("legend").textContent.includes(shiftName(shifts[0]) + " pages"));
    $("colour").value = "access";
    $("colour").dispatchEvent(new Event("change"));
    fit();
    draw();
    hoverAt(toX(rows[0], (rows[0].axis.toU(runs.va[0]) + rows[0].axis.toU(runs.va[0] + runs.pages[0] - 0.001)) / 2), middle);
    check("hovering shows a way", state.hover !== null && $("detail").textContent.includes("VA"));
    state.hover = null;

    // How long a frame takes while panning, rastering included: reading a pixel waits for it.
    const times = (from) => {
      const list = [];
      for (let n = 0; n < 30; n++) {
        const start = performance.now();
        show(0, from + n * 0.002, from + n * 0.002 + (from ? 0.3 : 0.9));
        draw();
        map.getContext("2d").getImageData(0, 0, 1, 1);
        list.push(performance.now() - start);
      }
      list.sort((a, b) => a - b);
      return { median: Math.round(list[15] * 10) / 10, longest: Math.round(list[29] * 10) / 10 };
    };
    result.frame = { wide: times(0), near: times(0.3) };
    fit();
    draw();
  }
  check("no script but the page's own", document.scripts.length === 2 && window.intruder === undefined);
  result.title = document.title;
  document.body.append(element("pre", { id: "selftest" }, JSON.stringify(result)));
}
if (location.hash === "#selftest") selfTest();
