"use strict";
// Draws the plots whose data lies in the page, as `report/figure.rs` describes them.
(() => {
  const { colours, plots } = JSON.parse(document.getElementById("data").textContent);
  for (const series of plots.flatMap((plot) => plot.series)) {
    series.points = series.points.map(([x, y, label]) => ({ x, y, label }));
  }
  // Series of one server: its colour, darker, lighter; and dashed, where there are not too many points for that.
  const DASHES = [[], [7, 4], [2, 3], [], [7, 4], [2, 3]];
  const LEGEND_DASHES = ["solid", "dashed", "dotted", "solid", "dashed", "dotted"];
  const SHADES = [["--ink", 0], ["--ink", 0.45], ["--paper", 0.35], ["--ink", 0.7], ["--paper", 0.55], ["--ink", 0.25]];
  const POINTS_SHOWN_MAX = 40;
  const POINTS_DASHED_MAX = 300;
  const HOVER_PIXELS = 40;

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const channels = (name) => {
    const hex = style(name).slice(1);
    const full = hex.length === 3 ? [...hex].map((digit) => digit + digit).join("") : hex;
    return [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16));
  };
  function colour(series, nth) {
    const [towards, share] = SHADES[nth % SHADES.length];
    const [from, to] = [channels(`--s${colours[series.server] ?? 0}`), channels(towards)];
    return `rgb(${from.map((value, at) => Math.round(value + (to[at] - value) * share)).join(" ")})`;
  }
  const isDense = (series) => series.points.length > POINTS_DASHED_MAX;
  const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, useGrouping: true });
  const number = (value) => digits.format(value).replaceAll(",", "\u202f");
  const text = (value, axis) => (value == null ? "–" : `${number(value)}${axis.unit ? "\u00a0" + axis.unit : ""}`);
  const title = (axis) => (axis.unit ? `${axis.label}, ${axis.unit}` : axis.label);
  const isLog = (axis) => axis.scale !== "linear";

  // 1000 is 99.9 %: as many digits as it takes, and `more`.
  function percentile(odds, more = 0) {
    const decimals = Math.max(0, Math.ceil(Math.log10(odds) - 2)) + more;
    return `${Number((100 - 100 / odds).toFixed(decimals))}\u00a0%`;
  }

  function logTicks(low, high) {
    if (!(low > 0 && high < Infinity)) return [];
    const within = (steps) => {
      const ticks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
        ticks.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(6))));
      }
      return ticks.filter((tick) => tick >= low && tick <= high);
    };
    const choices = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]];
    const found = choices.map(within).find((ticks) => ticks.length > 2);
    if (found) return found;
    const step = 10 ** Math.floor(Math.log10((high - low) / 2));
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(Number(tick.toPrecision(6)));
    return ticks.length > 8 ? ticks.filter((_, index) => index % 2 === 0) : ticks;
  }

  function percentileTicks(low, high) {
    const ticks = [2];
    for (let odds = 10; odds <= high * 1.001; odds *= 10) ticks.push(odds);
    return ticks.filter((tick) => tick >= low);
  }

  // `extra` must be in view as well; `pad` is the empty share beyond the ends of an even axis.
  function scaleOf(axis, extra, pad) {
    const range = (_, low, high) => {
      const values = [low, high].filter((value) => value != null).concat(extra);
      if (values.length === 0) return [1, 10];
      const [least, most] = [Math.min(...values), Math.max(...values)];
      if (axis.scale === "percentile") return [least, most > least ? most : least * 10];
      if (axis.scale === "log") return [least / 1.15, most * 1.15];
      return most > least ? uPlot.rangeNum(least, most, pad, pad > 0) : uPlot.rangeNum(least, most, 0.1, true);
    };
    return { time: false, distr: isLog(axis) ? 3 : 1, range };
  }

  function axisOf(axis, isAcross) {
    const common = {
      stroke: style("--faint"),
      grid: { stroke: style("--line"), width: 1 },
      ticks: { stroke: style("--line"), width: 1 },
      font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif",
      values: (_, ticks) => ticks.map((tick) => (axis.scale === "percentile" ? percentile(tick) : number(tick))),
    };
    if (isLog(axis)) {
      const ticks = axis.scale === "percentile" ? percentileTicks : logTicks;
      common.splits = (_, __, low, high) => ticks(low, high);
      common.filter = (_, splits) => splits;
    }
    return isAcross ? { ...common, label: title(axis), labelSize: 18, size: 34, space: 60 } : { ...common, size: 58, space: 34 };
  }

  // Lines across the plot for events and thresholds, with their names; names that would touch go a line lower.
  function drawMarks(u, plot) {
    const ratio = devicePixelRatio;
    const { left, top, width, height } = u.bbox;
    const ctx = u.ctx;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = style("--ink");
    ctx.lineWidth = ratio;
    ctx.setLineDash([4 * ratio, 3 * ratio]);
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    const line = (...ends) => {
      ctx.beginPath();
      ctx.moveTo(ends[0], ends[1]);
      ctx.lineTo(ends[2], ends[3]);
      ctx.stroke();
    };
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    const write = (words, x, y) => {
      ctx.save();
      ctx.globalAlpha = 0.75;
      ctx.fillStyle = style("--paper");
      ctx.fillRect(x - 2 * ratio, y - 10 * ratio, ctx.measureText(words).width + 4 * ratio, 13 * ratio);
      ctx.restore();
      ctx.fillText(words, x, y);
    };
    const marks = plot.marks.map((mark) => ({ ...mark, x: u.valToPos(mark.at, "x", true) }));
    const seen = marks.filter(({ x }) => x >= left && x <= left + width);
    seen.forEach(({ x }) => line(x, top, x, top + height));
    const rowEnds = [];
    for (const mark of seen) {
      const { x } = mark;
      const textWidth = ctx.measureText(mark.label).width;
      const start = Math.min(x + 4 * ratio, left + width - textWidth);
      let row = rowEnds.findIndex((end) => end < start);
      if (row < 0) row = rowEnds.length;
      rowEnds[row] = start + textWidth + 4 * ratio;
      write(mark.label, start, top + (12 + 13 * row) * ratio);
    }
    for (const level of plot.levels) {
      const y = u.valToPos(level.at, "y", true);
      if (y < top || y > top + height) continue;
      line(left, y, left + width, y);
      const isLow = y > top + height - 16 * ratio;
      const start = left + width - ctx.measureText(level.label).width - 4 * ratio;
      write(level.label, start, isLow ? y - 6 * ratio : y + 13 * ratio);
    }
    ctx.restore();
  }

  // The how many-th of its server each series is.
  function ordinals(plot) {
    const seen = {};
    return plot.series.map(({ server }) => (seen[server] = (seen[server] ?? -1) + 1));
  }

  function seriesOf(plot, nth) {
    const isScatter = plot.kind === "scatter";
    return plot.series.map((series, index) => {
      const stroke = colour(series, nth[index]);
      const labels = new Map(series.points.map((point) => [point.x, point.label]));
      return {
        label: series.name,
        stroke,
        width: isDense(series) ? 1 : 2,
        dash: isDense(series) ? [] : DASHES[nth[index] % DASHES.length],
        spanGaps: false,
        paths: isScatter ? () => null : undefined,
        points: isScatter
          ? { show: true, size: 11, fill: stroke, stroke: style("--paper"), width: 1 }
          : { show: series.points.length <= POINTS_SHOWN_MAX, size: 5, fill: stroke },
        value: (u, value, _, at) => {
          if (value == null) return "–";
          if (!isScatter) return text(value, plot.y);
          const x = u.data[0][at];
          return [labels.get(x), text(x, plot.x), text(value, plot.y)].filter(Boolean).join(", ");
        },
      };
    });
  }

  // For points alone: the nearest one in both directions, when one is near.
  function nearest(u, seriesIndex) {
    const { left, top } = u.cursor;
    let found = null;
    let least = HOVER_PIXELS;
    u.data[seriesIndex].forEach((y, index) => {
      if (y == null) return;
      const away = Math.hypot(u.valToPos(u.data[0][index], "x") - left, u.valToPos(y, "y") - top);
      if (away < least) [found, least] = [index, away];
    });
    return found;
  }

  const heightFor = (width) => (width < 500 ? 260 : 340);

  function draw(element) {
    const all = plots[Number(element.dataset.plot)];
    // Without a y, it is a gap.
    const can = (point) => point.x != null && (!isLog(all.x) || point.x > 0) && (point.y == null || !isLog(all.y) || point.y > 0);
    const plot = { ...all, series: all.series.map((series) => ({ ...series, points: series.points.filter(can) })) };
    element.replaceChildren();
    if (!plot.series.some((series) => series.points.length > 0)) {
      element.textContent = "Nothing was measured.";
      return null;
    }
    const isScatter = plot.kind === "scatter";
    element.classList.toggle("scatter", isScatter);
    const above = document.createElement("div");
    above.className = "axis";
    above.textContent = `↑ ${title(plot.y)}`;
    element.append(above);
    const tables = plot.series.map((series) => {
      const points = [...series.points].sort((a, b) => a.x - b.x);
      return [points.map((point) => point.x), points.map((point) => point.y)];
    });
    const data = tables.length > 1 ? uPlot.join(tables) : tables[0];
    const at = (marks) => marks.map((mark) => mark.at);
    const hover = isScatter
      ? { dataIdx: (u, index, closest) => (index === 0 ? closest : nearest(u, index)) }
      : { hover: { skip: [undefined, null], prox: null } };
    const nth = ordinals(plot);
    const width = element.clientWidth;
    const options = {
      width,
      height: heightFor(width),
      scales: { x: scaleOf(plot.x, [], isScatter ? 0.08 : 0), y: scaleOf(plot.y, at(plot.levels), 0.08) },
      axes: [axisOf(plot.x, true), axisOf(plot.y, false)],
      series: [
        { label: plot.x.label, value: (_, value) => (value == null ? "–" : plot.x.scale === "percentile" ? percentile(value, 1) : text(value, plot.x)) },
        ...seriesOf(plot, nth),
      ],
      cursor: { ...hover, drag: { x: true, y: false }, points: { size: 8 } },
      legend: {
        markers: {
          dash: (_, index) => (isDense(plot.series[index - 1]) ? "solid" : LEGEND_DASHES[nth[index - 1] % LEGEND_DASHES.length]),
          stroke: (_, index) => colour(plot.series[index - 1], nth[index - 1]),
          fill: (_, index) => (isScatter ? colour(plot.series[index - 1], nth[index - 1]) : "none"),
        },
      },
      hooks: { draw: [(u) => drawMarks(u, plot)] },
    };
    return new uPlot(options, data, element);
  }

  const drawn = new Map();
  const elements = [...document.querySelectorAll("[data-plot]")];
  function drawAll() {
    for (const element of elements) {
      drawn.get(element)?.destroy();
      drawn.set(element, draw(element));
    }
  }
  drawAll();
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const [u, width] = [drawn.get(target), target.clientWidth];
      if (u && width > 0 && width !== u.width) u.setSize({ width, height: heightFor(width) });
    }
  });
  elements.forEach((element) => resized.observe(element));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Paper is light, whatever the screen is.
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.print = "";
    drawAll();
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.print;
    drawAll();
  });
})();
