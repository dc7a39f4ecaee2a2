"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const redraws = []; // one function a chart
  const byId = (id) => document.getElementById(id);
  // plotly reads a little HTML in its texts; names are shown as they are
  const plainText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const broken = (text, width) => {
    const lines = [""];
    for (const word of String(text).split(" ")) {
      if (lines.at(-1) && (lines.at(-1) + " " + word).length > width) lines.push(word);
      else lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
    }
    return lines.map(plainText).join("<br>");
  };
  const narrow = () => window.innerWidth < 620;

  // ---- theme
  const darkWanted = window.matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const isDark = () => !printing && root.dataset.theme === "dark";
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    const button = byId("theme");
    button.setAttribute("aria-pressed", String(theme === "dark"));
    redraws.forEach((draw) => draw());
  };
  byId("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
  root.dataset.theme = darkWanted.matches ? "dark" : "light";
  byId("theme").setAttribute("aria-pressed", String(darkWanted.matches));
  darkWanted.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));

  // a colour of the plots, lighter on a dark ground
  const colour = (hex) => {
    if (!isDark()) return hex;
    const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    const share = Math.max(...parts) < 60 ? 0.8 : 0.3;
    return `rgb(${parts.map((v) => Math.round(v + (255 - v) * share)).join(",")})`;
  };

  // ---- tables: they are whole without a script; this adds sorting, search and the filter
  const tables = {};
  for (const table of document.querySelectorAll("table.data")) {
    tables[table.id] = new DataTable(table, {
      paging: false, info: false, autoWidth: false, order: [],
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null,
        top: table.tBodies[0].rows.length > 3 ? "search" : null },
      language: { search: "search" },
    });
  }
  const filterRows = (id, name, wanted) => {
    const table = tables[id];
    table.search.fixed(name, (_text, _row, index) =>
      wanted === null || table.row(index).node().dataset[name] === wanted);
    table.draw();
  };
  for (const select of document.querySelectorAll("select[data-filter]")) {
    const apply = () => filterRows(select.dataset.filter, select.dataset.by, select.value || null);
    select.addEventListener("change", apply);
    if (select.value) apply();
  }

  // ---- charts
  const layout = (more) => {
    const dark = isDark();
    const ink = dark ? "#e6edf3" : "#1b1f24", grid = dark ? "#30363d" : "#e2e5e9";
    const axis = (own) => ({ gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: false, ...own });
    const { xaxis, yaxis, ...rest } = more;
    for (const own of [xaxis, yaxis]) own.title.font = { size: narrow() ? 11 : 13 };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
      margin: { l: 62, r: 14, t: 34, b: 58 }, modebar: { bgcolor: "rgba(0,0,0,0)", color: dark ? "#8b949e" : "#8a9199", activecolor: ink }, hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: dark ? "#161b22" : "#ffffff", bordercolor: grid, font: { color: ink, size: 12 } },
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
      legend: narrow() ? { orientation: "h", y: -0.22, font: { size: 11 } } : { font: { size: 12 } },
      xaxis: axis(xaxis), yaxis: axis(yaxis), ...rest,
    };
  };
  // the button that would send a chart to plotly is left out
  const config = { responsive: true, displaylogo: false, plotlyServerURL: "", modeBarButtonsToRemove: ["sendChartToCloud", "lasso2d", "select2d", "autoScale2d"] };
  const draw = (id, traces, shape) => Plotly.react(byId(`${id}-plot`), traces, layout(shape), config);
  const menu = (id, label, choices, value, changed) => {
    const outer = document.createElement("label"), select = document.createElement("select");
    outer.append(label, select);
    choices.forEach(([key, text]) => select.append(new Option(text, key)));
    if (value !== undefined) select.value = value;
    select.id = `${id}-${label.replace(/\W+/g, "-")}`;
    select.addEventListener("change", changed);
    byId(`${id}-controls`).append(outer);
    return select;
  };
  const tell = (id, name, lines, command) => {
    const place = byId(`${id}-detail`);
    place.replaceChildren();
    if (!name) return;
    const strong = document.createElement("strong");
    strong.textContent = name;
    place.append(strong);
    for (const line of lines) place.append(Object.assign(document.createElement("p"), { textContent: line }));
    if (command) place.append(Object.assign(document.createElement("code"), { textContent: command }));
  };
  const onClick = (id) => byId(`${id}-plot`).on("plotly_click", (event) => {
    const told = event.points[0].data.meta?.[event.points[0].pointNumber];
    if (told) tell(id, told.name, told.lines, told.command);
  });
  const span = (values, log, room) => {
    const shown = values.map((v) => (log ? Math.log10(v) : v));
    const low = Math.min(...shown), high = Math.max(...shown);
    const more = (high - low || Math.abs(high) * 0.1 || 1) * room;
    return [low - more, high + more];
  };
  const ticks = { tickformat: "~s", exponentformat: "SI" };
  const numberTicks = (values, log) => {
    if (!log) return Math.max(...values) >= 10000 ? ticks : {};
    // on a short log axis plotly would write "2" and "5" without their decade
    const [low, high] = [Math.min(...values) / 1.4, Math.max(...values) * 1.4];
    const steps = high / low > 300 ? [1] : high / low > 50 ? [1, 3] : high / low > 6 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8];
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
      for (const s of steps) found.push(Number((s * 10 ** e).toPrecision(3)));
    const kept = found.filter((v) => v >= low && v <= high);
    const word = (v) => (v >= 1e9 ? `${v / 1e9} G` : v >= 1e6 ? `${v / 1e6} M` : v >= 1e4 ? `${v / 1e3} k` : String(v));
    return { tickvals: kept, ticktext: kept.map(word) };
  };

  // where each label has room beside its point; a label without room is left to the hover
  const placed = (points, width, height) => {
    const boxes = points.map((p) => [p.px - 6, p.py - 6, p.px + 6, p.py + 6]);
    const hit = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    const free = [];
    return points.map((p, i) => {
      const w = p.label.length * 6.7 + 4, h = 15;
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

  const front = (points, x, y) => {
    if (!x.better || !y.better || x.key === y.key) return null;
    const better = (axis, a, b) => (axis.better === "lower" ? a < b : a > b);
    const beats = (a, b) =>
      !better(x, b.x, a.x) && !better(y, b.y, a.y) && (better(x, a.x, b.x) || better(y, a.y, b.y));
    const best = points.filter((p) => !points.some((q) => beats(q, p))).sort((a, b) => a.x - b.x || a.y - b.y);
    return { x: best.map((p) => p.x), y: best.map((p) => p.y), shape: x.better === "lower" ? "hv" : "vh" };
  };

  const tradeoff = (group, current) => {
    const id = `${group}-tradeoff`;
    const all = new Map(data[group].settings.flatMap((s) => s.axes.map((a) => [a.key, a])));
    if (!all.size) return byId(id).remove();
    const choices = [...all.values()].map((a) => [a.key, a.label]);
    const preferred = ["net_forward_ms_per_image", "flops", "params"].find((key) => all.has(key)) ?? choices[0][0];
    const xMenu = menu(id, "across", choices, preferred, () => redraw());
    const yMenu = menu(id, "up", choices, choices[0][0], () => redraw());
    const mixerMenu = menu(id, "tell of", [["", "(choose, or click a point)"]], "", () => {
      const p = current().points.find((q) => q.label === mixerMenu.value);
      tell(id, p?.label, p?.numbers ?? [], p?.command);
    });
    const redraw = () => {
      const setting = current(), x = all.get(xMenu.value), y = all.get(yMenu.value);
      const kept = mixerMenu.value;
      mixerMenu.replaceChildren(mixerMenu.options[0]);
      setting.points.forEach((p) => mixerMenu.append(new Option(p.label, p.label)));
      mixerMenu.value = setting.points.some((p) => p.label === kept) ? kept : "";
      const points = setting.points
        .map((p) => ({ ...p, x: p.values[x.key], y: p.values[y.key] }))
        .filter((p) => p.x !== null && p.y !== null);
      const absent = setting.points.filter((p) => !points.some((q) => q.label === p.label)).map((p) => p.label);
      const percent = (axis) => axis.label.includes("(%)");
      const log = (axis, values) => !percent(axis) && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 1.5;
      const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
      const betweens = (axis) => points.map((p) => p.intervals[axis.key] ?? [p.values[axis.key], p.values[axis.key]]);
      const pale = isDark() ? "rgba(139, 148, 158, 0.45)" : "rgba(138, 145, 153, 0.45)";
      const error = (axis, other) => axis.key !== other.key && points.some((p) => p.intervals[axis.key]) ? {
        type: "data", symmetric: false, array: betweens(axis).map(([, high], i) => high - points[i].values[axis.key]),
        arrayminus: betweens(axis).map(([low], i) => points[i].values[axis.key] - low),
        color: percent(axis) ? (isDark() ? "#8b949e" : "#8a9199") : pale, thickness: 1, width: 3 } : undefined;
      const reach = (axis, values) => values.concat(betweens(axis).flat());
      const [lx, ly] = [log(x, xs), log(y, ys)];
      const rx = points.length ? span(reach(x, xs), lx, 0.1) : [0, 1], ry = points.length ? span(reach(y, ys), ly, 0.07) : [0, 1];
      const width = byId(`${id}-plot`).clientWidth - 76, height = byId(`${id}-plot`).clientHeight - 92;
      const at = (v, l, r) => ((l ? Math.log10(v) : v) - r[0]) / (r[1] - r[0]);
      const texts = placed(points.map((p) => ({ label: p.label, px: at(p.x, lx, rx) * width, py: (1 - at(p.y, ly, ry)) * height })), width, height);
      const traces = [];
      const line = front(points, x, y);
      if (line) {
        // the front goes on to the side where cost no longer matters
        const end = rx[1] - (rx[1] - rx[0]) * 0.01, far = lx ? 10 ** end : end;
        if (line.shape === "hv") { line.x.push(far); line.y.push(line.y.at(-1)); }
        else { const s = lx ? 10 ** rx[0] : rx[0]; line.x.unshift(s); line.y.unshift(line.y[0]); }
        traces.push({ x: line.x, y: line.y, mode: "lines", line: { shape: line.shape, color: isDark() ? "#8b949e" : "#8a9199", width: 1.5, dash: "dot" },
          hoverinfo: "skip", name: "Pareto front" });
      }
      traces.push({
        x: xs, y: ys, mode: "markers+text", type: "scatter", name: "mixers", cliponaxis: false,
        text: texts.map(([text]) => plainText(text)), textposition: texts.map(([, place]) => place), textfont: { size: 12 },
        marker: { size: 11, color: points.map((p) => colour(p.colour)), symbol: points.map((p) => p.symbol) },
        error_x: error(x, y), error_y: error(y, x),
        hovertext: points.map((p) => `<b>${plainText(p.label)}</b> (${plainText(p.family)})<br>` +
          p.numbers.map((n) => broken(n, 58)).join("<br>") + `<br><br>${broken(p.command, 58)}`),
        hovertemplate: "%{hovertext}<extra></extra>",
        meta: points.map((p) => ({ name: p.label, lines: p.numbers, command: p.command })),
      });
      const title = (axis) => axis.label + (axis.better ? ` – ${axis.better} is better` : "");
      draw(id, traces, {
        showlegend: false,
        xaxis: { title: { text: title(x) }, type: lx ? "log" : "linear", range: rx, ...numberTicks(xs.length ? xs : [1], lx) },
        yaxis: { title: { text: title(y) }, type: ly ? "log" : "linear", range: ry, ...numberTicks(ys.length ? ys : [1], ly) },
      });
      byId(`${id}-caption`).textContent = `${setting.caption} Bars: 95 % interval over seeds; ` +
        "of a time, over rounds, of its ratio to attention's in the same round. " +
        (line ? "Dotted: the Pareto front, what no other mixer beats in both." : "") +
        (absent.length ? ` Without one of the two numbers: ${absent.join(", ")}.` : "");
    };
    redraw();
    onClick(id);
    redraws.push(redraw);
    return redraw;
  };

  const curves = (group, current) => {
    const id = `${group}-curves`;
    const redraw = () => {
      const setting = current(), traces = [];
      for (const c of setting.curves) {
        const common = { legendgroup: c.label, name: plainText(c.label), x: c.x };
        for (const [seed, y] of Object.entries(c.seeds))
          traces.push({ ...common, y, mode: "lines", showlegend: false, opacity: 0.35, line: { color: colour(c.colour), width: 1 },
            hovertemplate: `${plainText(c.label)}, seed ${seed}: %{y:.1f} % after epoch %{x}<extra></extra>` });
        traces.push({ ...common, y: c.mean, mode: "lines+markers", line: { color: colour(c.colour), width: 2.5, dash: c.dash },
          marker: { symbol: c.symbol, size: 8 },
          hovertemplate: `<b>${plainText(c.label)}</b>: %{y:.1f} % after epoch %{x}, mean of ${Object.keys(c.seeds).length} seeds<extra></extra>` });
      }
      draw(id, traces, { xaxis: { title: { text: "epoch" }, ...(Math.max(0, ...setting.curves.flatMap((c) => c.x)) < 15 ? { dtick: 1 } : {}) },
        yaxis: { title: { text: "held-out top-1 accuracy (%)" } } });
      byId(`${id}-caption`).textContent = setting.curves.length
        ? `${setting.caption} Thick: mean over seeds; thin: each seed. Click a name to hide or show it.` : "No learning curve among these records.";
    };
    redraw();
    redraws.push(redraw);
    return redraw;
  };

  const sizes = (group) => {
    const id = `${group}-sizes`, sweeps = data[group].sweeps;
    if (!sweeps.length) return;
    const sweepMenu = sweeps.length > 1 ? menu(id, "sweep", sweeps.map((s, i) => [i, s.title]), 0, () => redraw()) : { value: 0 };
    const quantities = new Map(sweeps.flatMap((s) => s.quantities.map((q) => [q.key, q.label])));
    const what = menu(id, "show", [...quantities], quantities.keys().next().value, () => redraw());
    const redraw = () => {
      const sweep = sweeps[sweepMenu.value];
      const quantity = sweep.quantities.find((q) => q.key === what.value) ?? { lines: [], label: quantities.get(what.value), key: what.value };
      const ratio = quantity.key.endsWith("_over_attention");
      const traces = quantity.lines.map((l) => ({
        x: l.x, y: l.y, mode: "lines+markers", name: plainText(l.label), line: { color: colour(l.colour), dash: l.dash, width: 2 },
        marker: { symbol: l.symbol, size: 9 },
        hovertext: l.text.map((t) => `<b>${plainText(l.label)}</b><br>${broken(t, 58)}<br><br>${broken(l.command, 58)}`),
        hovertemplate: "%{hovertext}<extra></extra>",
        meta: l.text.map((t) => ({ name: l.label, lines: [t], command: l.command })),
      }));
      const grey = isDark() ? "#8b949e" : "#6e7781", tick = Object.keys(sweep.sizes).map(Number).sort((a, b) => a - b);
      if (quantity.key === "mixer_forward_ms_per_image" && sweep.floor.length)
        traces.push({ x: sweep.floor.map((p) => p[0]), y: sweep.floor.map((p) => p[1]), mode: "lines", name: "copy (memory floor)",
          line: { color: grey, dash: "dot", width: 1.5 }, hovertemplate: "a copy of the input: %{y:.3g} ms per image<extra></extra>" });
      if (ratio) traces.push({ x: [tick[0], tick.at(-1)], y: [1, 1], mode: "lines", name: "attention", hoverinfo: "skip", line: { color: grey, width: 1.5, dash: "dot" } });
      const values = traces.flatMap((t) => t.y);
      draw(id, traces, {
        xaxis: { type: "log", title: { text: "image size (px), tokens below" }, tickvals: tick, ticktext: tick.map((s) => `${s}<br>${sweep.sizes[s]}`) },
        yaxis: { type: "log", title: { text: quantity.label }, ...numberTicks(values.length ? values : [1], true) },
        margin: { l: 62, r: 14, t: 34, b: 70 },
      });
      byId(`${id}-caption`).textContent = sweep.caption + (ratio ? " Below the dotted line a mixer is cheaper than attention." : "");
    };
    redraw();
    onClick(id);
    redraws.push(redraw);
  };

  const patches = (group) => {
    const id = `${group}-patches`, found = data[group].patches;
    if (!found.length) return;
    const which = found.length > 1 ? menu(id, "setting", found.map((f, i) => [i, f.title]), 0, () => redraw()) : { value: 0 };
    const redraw = () => {
      const shown = found[which.value];
      const tick = [...new Set(shown.lines.flatMap((l) => l.x))].sort((a, b) => a - b);
      const traces = shown.lines.map((l) => ({
        x: l.x, y: l.y, mode: "lines+markers", name: plainText(l.label), line: { color: colour(l.colour), dash: l.dash, width: 2 },
        marker: { symbol: l.symbol, size: 9 },
        error_y: { type: "data", symmetric: false, thickness: 1, width: 3, array: l.high.map((h, i) => (h === null ? 0 : h - l.y[i])),
          arrayminus: l.low.map((v, i) => (v === null ? 0 : l.y[i] - v)) },
        hovertext: l.x.map((x, i) => `<b>${plainText(l.label)}</b>: ${l.y[i].toFixed(1)} % at patch ${x} px, ${l.tokens[i].toLocaleString("en")} tokens, n = ${l.n[i]}` +
          `<br><br>${broken(l.commands[i], 58)}`),
        hovertemplate: "%{hovertext}<extra></extra>",
        meta: l.x.map((x, i) => ({ name: l.label, lines: [`${l.y[i].toFixed(1)} % at patch ${x} px`], command: l.commands[i] })),
      }));
      draw(id, traces, { xaxis: { type: "log", title: { text: "patch size (px)" }, tickvals: tick, ticktext: tick.map(String) },
        yaxis: { title: { text: "test top-1 accuracy (%)" } } });
      byId(`${id}-caption`).textContent = `${shown.caption} conv1x1 has no mixing layer: nothing but the norm's mean and deviation passes between its tokens. What another line has over it is the mixing layer's, parameters included.${shown.lines.some((l) => l.n.some((n) => n > 1)) ? " Bars: 95 % interval over seeds." : ""}`;
    };
    redraw();
    onClick(id);
    redraws.push(redraw);
  };

  for (const group of Object.keys(data)) {
    const found = data[group].settings;
    if (found.length) {
      const choice = byId(`${group}-setting`);
      const current = () => found.find((s) => s.key === (choice ? choice.value : found[0].key));
      const own = [tradeoff(group, current), curves(group, current)];
      if (choice) {
        const chosen = () => ["ranked", "paired"].forEach((name) => {
          if (tables[`${group}-${name}`]) filterRows(`${group}-${name}`, "setting", choice.value);
        });
        choice.addEventListener("change", () => { chosen(); own.forEach((redraw) => redraw?.()); });
        chosen();
      }
    }
    sizes(group);
    patches(group);
  }

  let waiting;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => redraws.forEach((f) => f()), 150); });
  window.addEventListener("beforeprint", () => {
    printing = true;
    root.dataset.screenTheme = root.dataset.theme;
    root.dataset.theme = "light";
    document.querySelectorAll("details").forEach((d) => { if (d.closest("#atlas") === null && !d.querySelector("table")) d.open = true; });
    redraws.forEach((f) => f());
    document.querySelectorAll(".plot").forEach((p) => Plotly.relayout(p, { width: 680, height: 380 }));
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    setTheme(root.dataset.screenTheme);
    document.querySelectorAll(".plot").forEach((p) => Plotly.relayout(p, { width: null, height: null, autosize: true }));
  });
})();
