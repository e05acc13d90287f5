// From addresses to places in a row. A row goes from 0 to 1; between two corners it is linear, so every range has a scale.

/// Corners of a row: page numbers and places, both ascending.
class Axis {
  /// intervals: [first, end] pairs of what is there, ascending, none overlapping; clusters: where long gaps are.
  constructor(intervals, clusters, mode, space) {
    this.folds = [];
    const corners = mode === "true" ? Axis.trueScale(intervals, space) : Axis.folded(intervals, clusters, mode);
    this.page = new Float64Array(corners.length);
    this.u = new Float64Array(corners.length);
    const total = corners.length ? corners[corners.length - 1][1] || 1 : 1;
    corners.forEach(([page, u], i) => { this.page[i] = page; this.u[i] = u / total; });
    // Gaps drawn shorter than they are.
    const density = [];
    for (let i = 0; i + 1 < corners.length; i++) {
      if (corners[i][2]) density.push([this.u[i], this.u[i + 1], this.page[i], this.page[i + 1]]);
    }
    this.folds = density;
  }

  /// The two halves of an address space that has a hole in the middle, else one stretch.
  static trueScale(intervals, space) {
    if (!intervals.length) return [[0, 0, false], [1, 1, false]];
    const last = intervals[intervals.length - 1][1];
    if (!space) return [[Math.min(0, intervals[0][0]), 0, false], [last, last, false]];
    const half = space / 2, top = 2 ** 52;
    if (last <= half) return [[0, 0, false], [half, half, false]];
    return [[0, 0, false], [half, half, true], [top - half, half * 1.02, false], [top, half * 2.02, false]];
  }

  static folded(intervals, clusters, mode) {
    const corners = [];
    let u = 0, next = 0;
    let all = 0;
    for (const [first, end] of intervals) all += end - first;
    clusters.forEach(([from, to], number) => {
      const start = next;
      let mapped = 0;
      while (next < intervals.length && intervals[next][0] < to) {
        mapped += Math.min(intervals[next][1], to) - intervals[next][0];
        if (intervals[next][1] > to) break;
        next++;
      }
      const count = Math.max(1, next - start);
      const longest = mapped / count;
      // Inside: to scale, but a gap is never longer than a range is on average.
      const inside = [[from, 0, false]];
      let w = 0, at = from;
      for (let i = start; i < next; i++) {
        const [first, end] = [Math.max(from, intervals[i][0]), Math.min(to, intervals[i][1])];
        if (first > at) {
          const gap = Math.min(first - at, longest);
          inside[inside.length - 1][2] = gap < first - at;
          w += gap;
          inside.push([first, w, false]);
        }
        w += end - first;
        inside.push([end, w, false]);
        at = end;
      }
      if (at < to) { w += to - at; inside.push([to, w, false]); }
      const weight = mode === "ranges" ? Math.max(w, all / 400) : 1 + 0.25 * Math.log2(1 + mapped);
      for (const [page, place, fold] of inside) corners.push([page, u + (w ? (place / w) * weight : 0), fold]);
      u += weight;
      if (number + 1 < clusters.length && clusters[number + 1][0] > to) {
        corners[corners.length - 1][2] = true;
        u += mode === "ranges" ? all / 250 : 0.3;
      }
    });
    if (!corners.length) return [[0, 0, false], [1, 1, false]];
    return corners;
  }

  /// The place of a page; in the middle of one where `part` says so.
  toU(page) {
    const n = this.page.length;
    let i = lastAtMost(this.page, page);
    if (i < 0) return 0;
    // Corners that share a page: a fold of no length.
    if (i >= n - 1) return 1;
    const span = this.page[i + 1] - this.page[i];
    return this.u[i] + (span ? (page - this.page[i]) / span : 0) * (this.u[i + 1] - this.u[i]);
  }

  /// The page at a place, with its fraction.
  toPage(u) {
    const n = this.u.length;
    const i = Math.max(0, Math.min(n - 2, lastAtMost(this.u, u)));
    const span = this.u[i + 1] - this.u[i];
    return this.page[i] + (span ? (u - this.u[i]) / span : 0) * (this.page[i + 1] - this.page[i]);
  }

  /// Whether a place is in a gap that is drawn shorter than it is.
  isFold(u) { return this.folds.some(([from, to]) => from < u && u < to); }
}

/// Ascending pieces that cover all of some pieces, which may overlap.
function union(pieces) {
  pieces.sort((a, b) => a[0] - b[0]);
  const joined = [];
  for (const [first, end] of pieces) {
    const last = joined[joined.length - 1];
    if (last && first <= last[1]) last[1] = Math.max(last[1], end); else joined.push([first, end]);
  }
  return joined;
}
