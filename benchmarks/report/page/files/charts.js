"use strict";
// Charts by plotly: what they share, and those of a group: learning curves, sizes, patches.
(() => {
  const { byId, make, state } = page;
  const root = document.documentElement;
  // plotly reads a little HTML in its texts; names are shown as they are
  page.plainText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  page.broken = (text, width) => {
    const lines = [""];
    for (const word of String(text).split(" ")) {
      if (lines.at(-1) && (lines.at(-1) + " " + word).length > width) lines.push(word);
      else lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
    }
    return lines.map(page.plainText).join("<br>");
  };
  const { plainText, broken } = page;
  const FEW = 12; // lines whose names fit below a narrow chart
  const narrow = () => window.innerWidth < 620;
  page.printing = false;
  page.isDark = () => !page.printing && root.dataset.theme === "dark";
  page.inks = () => (page.isDark() ? { ink: "#e6edf3", soft: "#9da7b1", grid: "#30363d", paper: "#161b22" } : { ink: "#1b1f24", soft: "#6e7781", grid: "#e2e5e9", paper: "#ffffff" });
  // a colour of the plots, lighter on a dark ground
  page.colour = (hex) => {
    if (!page.isDark()) return hex;
    const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    const share = Math.max(...parts) < 60 ? 0.8 : 0.3;
    return `rgb(${parts.map((v) => Math.round(v + (255 - v) * share)).join(",")})`;
  };
  const families = Object.fromEntries([...document.querySelectorAll("[data-family]")].map((b) => [b.dataset.family, b.querySelector(".swatch").style.background]));
  const asShown = (hex) => { const probe = make("i"); probe.style.background = hex; return probe.style.background; };
  page.inFamily = (point) => !state.family || asShown(point.colour) === families[state.family];

  const layout = (more) => {
    const { ink, soft, grid, paper } = page.inks();
    const axis = (own) => ({ gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: false, ...own });
    const { xaxis, yaxis, ...rest } = more;
    for (const own of [xaxis, yaxis]) own.title.font = { size: narrow() ? 11 : 13 };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
      margin: { l: 62, r: 14, t: 12, b: 46 }, modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink }, hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: paper, bordercolor: grid, font: { color: ink, size: 12 } },
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
      legend: narrow() ? { orientation: "h", y: -0.24, font: { size: 11 } } : { font: { size: 10 }, itemwidth: 30 },
      xaxis: axis(xaxis), yaxis: axis(yaxis), ...rest,
    };
  };
  // the button that would send a chart to plotly is left out
  const config = { responsive: true, displaylogo: false, displayModeBar: false, plotlyServerURL: "" };
  page.draw = (id, traces, shape) => {
    const node = byId(`${id}-plot`), first = !node.data;
    Plotly.react(node, traces, layout(shape), config);
    if (first && id === "picture") node.on("plotly_click", (event) => { const label = event.points[0].data.meta?.[event.points[0].pointNumber]; if (label) page.onPoint(label); });
  };
  page.span = (values, log, room) => {
    const shown = values.map((v) => (log ? Math.log10(v) : v));
    const low = Math.min(...shown), high = Math.max(...shown);
    const more = (high - low || Math.abs(high) * 0.1 || 1) * room;
    return [low - more, high + more];
  };
  page.numberTicks = (values, log) => {
    if (!log) return Math.max(...values) >= 10000 ? { tickformat: "~s", exponentformat: "SI", nticks: narrow() ? 4 : 8 } : {};
    // on a short log axis plotly would write "2" and "5" without their decade
    const [low, high] = [Math.min(...values) / 1.4, Math.max(...values) * 1.4], wide = high / low;
    const steps = wide > 300 ? [1] : wide > 50 ? [1, 3] : wide > 6 || narrow() ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8];
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
      for (const s of steps) found.push(Number((s * 10 ** e).toPrecision(3)));
    const kept = found.filter((v) => v >= low && v <= high);
    const word = (v) => (v >= 1e9 ? `${v / 1e9} G` : v >= 1e6 ? `${v / 1e6} M` : v >= 1e4 ? `${v / 1e3} k` : String(v));
    return { tickvals: kept, ticktext: kept.map(word) };
  };
  // where each label has room beside its point, the first before the others; one without room is left to the hover
  page.placed = (points, width, height) => {
    const boxes = points.map((p) => [p.px - 6, p.py - 6, p.px + 6, p.py + 6]);
    const hit = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    const free = [];
    return points.map((p, i) => {
      const w = p.label.length * 6.8 + 4, h = 15;
      const spots = {
        "top right": [p.px + 4, p.py - h - 4], "bottom right": [p.px + 4, p.py + 4],
        "middle right": [p.px + 8, p.py - h / 2], "top center": [p.px - w / 2, p.py - h - 7],
        "bottom center": [p.px - w / 2, p.py + 7], "middle left": [p.px - 8 - w, p.py - h / 2],
        "top left": [p.px - 4 - w, p.py - h - 4], "bottom left": [p.px - 4 - w, p.py + 4],
      };
      for (const [name, [x, y]] of Object.entries(spots)) {
        const box = [x, y, x + w, y + h];
        const outside = x < 0 || y < 0 || x + w > width || y + h > height;
        if (outside || boxes.some((b, j) => j !== i && hit(box, b)) || free.some((b) => hit(box, b))) continue;
        free.push(box);
        return [p.label, name];
      }
      return ["", "middle right"];
    });
  };
  // a dashed line for every predictor that is no net; labels that would touch share a line
  page.baselineMarks = (baselines, range) => {
    const grey = page.inks().soft, groups = [];
    for (const [label, value] of baselines) {
      const last = groups.at(-1);
      if (last && value - last.value < 0.055 * (range[1] - range[0])) last.labels.push(label);
      else groups.push({ value, labels: [label] });
    }
    return {
      shapes: baselines.map(([, value]) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, layer: "below", line: { color: grey, width: 1, dash: "dash" } })),
      annotations: groups.map(({ value, labels }) => ({ xref: "paper", x: 1, xanchor: "right", y: value, yanchor: "bottom", showarrow: false, text: labels.join(", "), font: { size: 11, color: grey } })),
    };
  };
  const menu = (id, label, choices, redraw) => {
    const select = make("select", { id: `${id}-${label}` }, ...choices.map(([key, text]) => new Option(text, key)));
    select.addEventListener("change", redraw);
    byId(`${id}-controls`).append(make("label", {}, `${label} `, select));
    return select;
  };
  const faint = (line) => (page.inFamily(line) ? 1 : 0.12);
  const shown = (id) => byId(id).getClientRects().length > 0;

  page.drawCurves = () => {
    const setting = page.setting(), curves = setting?.curves ?? [], traces = [], values = [];
    byId("learning").hidden = !curves.length;
    if (!curves.length || !shown("curves")) return;
    for (const c of curves) {
      const common = { legendgroup: c.label, name: plainText(c.label), x: c.x };
      const light = faint(c) * (setting.costs.some((k) => k.stuck?.includes(c.label)) ? 0.4 : 1);
      for (const [seed, y] of Object.entries(c.seeds)) {
        values.push(...y);
        traces.push({ ...common, y, mode: "lines", showlegend: false, opacity: 0.35 * light, line: { color: page.colour(c.colour), width: 1 },
          hovertemplate: `${plainText(c.label)}, seed ${seed}: %{y:.1f} % after epoch %{x}<extra></extra>` });
      }
      traces.push({ ...common, y: c.mean, mode: "lines+markers", opacity: light, line: { color: page.colour(c.colour), width: 2.5, dash: c.dash },
        marker: { symbol: c.symbol, size: 8 },
        hovertemplate: `<b>${plainText(c.label)}</b>: %{y:.1f} % after epoch %{x}, mean of ${Object.keys(c.seeds).length} seeds<extra></extra>` });
    }
    const baselines = setting.baselines ?? [], range = page.span([...values, ...baselines.map(([, v]) => v)], false, 0.07);
    page.draw("curves", traces, { showlegend: !narrow() || curves.length <= FEW, ...page.baselineMarks(baselines, range),
      xaxis: { title: { text: "epoch" }, ...(Math.max(...curves.flatMap((c) => c.x)) < 15 ? { dtick: 1 } : {}) },
      yaxis: { title: { text: "held-out accuracy (%)" }, range } });
    byId("curves-caption").textContent = `${setting.caption} Thick: mean over seeds; thin: each seed. Click a name to hide or show it.`;
  };

  let sweepMenu, whatMenu, patchMenu;
  page.fillCharts = () => {
    const { sweeps, patches } = page.group;
    byId("sizes-controls").replaceChildren();
    byId("patch-sizes-controls").replaceChildren();
    sweepMenu = sweeps.length > 1 ? menu("sizes", "sweep", sweeps.map((s, i) => [i, s.title]), () => page.drawSizes()) : { value: 0 };
    if (sweeps.length) whatMenu = menu("sizes", "show", [...new Map(sweeps.flatMap((s) => s.quantities.map((q) => [q.key, q.label])))], () => page.drawSizes());
    patchMenu = patches.length > 1 ? menu("patch-sizes", "setting", patches.map((f, i) => [i, f.title]), () => page.drawPatches()) : { value: 0 };
    byId("sizes").hidden = !sweeps.length;
    byId("no-sizes").hidden = sweeps.length > 0;
    byId("patch-sizes").hidden = !patches.length;
    byId("no-patches").hidden = patches.length > 0 || page.group.words.sequences;
  };
  page.drawSizes = () => {
    const { sweeps, words } = page.group, sweep = sweeps[sweepMenu.value];
    if (!sweep) return;
    const quantity = sweep.quantities.find((q) => q.key === whatMenu.value) ?? { lines: [], label: "", key: "" };
    const ratio = quantity.key.endsWith("_over_attention"), { soft } = page.inks();
    // of many lines those of the usual comparison are coloured, and of the user's own mixers; the others are grey
    const own = (l) => quantity.lines.length <= FEW || page.data.core.includes(l.label) || !page.data.mixers[l.label];
    const traces = [...quantity.lines].sort((a, b) => own(a) - own(b)).map((l) => ({
      x: l.x, y: l.y, mode: own(l) ? "lines+markers" : "lines", name: plainText(l.label), showlegend: own(l),
      opacity: own(l) ? faint(l) : 0.45 * faint(l), line: { color: own(l) ? page.colour(l.colour) : soft, dash: own(l) ? l.dash : "solid", width: own(l) ? 2 : 1 },
      marker: { symbol: l.symbol, size: 8 },
      hovertext: l.text.map((t) => `<b>${plainText(l.label)}</b><br>${broken(t, 58)}<br><br>${broken(l.command, 58)}`),
      hovertemplate: "%{hovertext}<extra></extra>",
    }));
    const tick = Object.keys(sweep.sizes).map(Number).sort((a, b) => a - b);
    if (quantity.key === "mixer_forward_ms_per_image" && sweep.floor.length)
      traces.push({ x: sweep.floor.map((p) => p[0]), y: sweep.floor.map((p) => p[1]), mode: "lines", name: "copy (memory floor)",
        line: { color: soft, dash: "dot", width: 1.5 }, hovertemplate: `a copy of the input: %{y:.3g} ms per ${words.noun}<extra></extra>` });
    if (ratio) traces.push({ x: [tick[0], tick.at(-1)], y: [1, 1], mode: "lines", name: "attention", hoverinfo: "skip", line: { color: soft, width: 1.5, dash: "dot" } });
    const values = traces.flatMap((t) => t.y);
    page.draw("sizes", traces, {
      showlegend: !narrow() || traces.length <= FEW,
      xaxis: { type: "log", title: { text: words.sequences || narrow() ? words.axis : `${words.axis}, tokens below` }, tickvals: tick, tickangle: 0,
        ticktext: tick.map((s, i) => (narrow() && i % 2 ? "" : words.sequences || narrow() ? s.toLocaleString("en") : `${s}<br>${sweep.sizes[s]}`)) },
      yaxis: { type: "log", title: { text: quantity.label }, ...page.numberTicks(values.length ? values : [1], true) },
      margin: { l: 62, r: 14, t: 12, b: !narrow() && traces.length > FEW ? 84 : 62 },
      // many names stand below the chart, side by side
      ...(!narrow() && traces.length > FEW ? { legend: { orientation: "h", y: -0.24, entrywidth: 128, font: { size: 11 } } } : {}),
    });
    byId("sizes-caption").textContent = (quantity.lines.length > FEW ? "Grey: the other mixers; point at a line to see whose it is. " : "") + sweep.caption + (ratio ? " Below the dotted line a mixer is cheaper than attention." : "");
  };
  page.drawPatches = () => {
    const found = page.group.patches[patchMenu.value];
    if (!found) return;
    const tick = [...new Set(found.lines.flatMap((l) => l.x))].sort((a, b) => a - b);
    const traces = found.lines.map((l) => ({
      x: l.x, y: l.y, mode: "lines+markers", name: plainText(l.label), opacity: faint(l), line: { color: page.colour(l.colour), dash: l.dash, width: 2 },
      marker: { symbol: l.symbol, size: 8 },
      error_y: { type: "data", symmetric: false, thickness: 1, width: 3, array: l.high.map((h, i) => (h === null ? 0 : h - l.y[i])),
        arrayminus: l.low.map((v, i) => (v === null ? 0 : l.y[i] - v)) },
      hovertext: l.x.map((x, i) => `<b>${plainText(l.label)}</b>: ${l.y[i].toFixed(1)} % at patch ${x} px, ${l.tokens[i].toLocaleString("en")} tokens, n = ${l.n[i]}` +
        `<br><br>${broken(l.commands[i], 58)}`),
      hovertemplate: "%{hovertext}<extra></extra>",
    }));
    page.draw("patch-sizes", traces, { xaxis: { type: "log", title: { text: "patch size (px)" }, tickvals: tick, ticktext: tick.map(String) },
      yaxis: { title: { text: "test top-1 accuracy (%)" } } });
    byId("patch-sizes-caption").textContent = `${found.caption} conv1x1 has no mixing layer: nothing but the norm's mean and deviation passes between its tokens. What another line has over it is the mixing layer's, parameters included.${found.lines.some((l) => l.n.some((n) => n > 1)) ? " Bars: 95 % interval over seeds." : ""}`;
  };
  page.drawOthers = () => { page.drawCurves(); page.drawSizes(); page.drawPatches(); };
  page.redraw = () => { page.drawPicture(); page.drawOthers(); };
  byId("learning").addEventListener("toggle", () => page.drawCurves());
})();
