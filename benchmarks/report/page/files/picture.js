"use strict";
// The picture: accuracy against a cost, and the best mixer within a budget. What is best was decided in Python, by the
// statistics of the tables; here it is looked up.
(() => {
  const { byId, make, state } = page;
  const slider = byId("budget"), exact = byId("exact"), STEPS = Number(slider.max), FEWEST = page.data.fewest;
  const inputs = { size: byId("size"), cost: byId("cost") };
  let axis = { log: false, range: [0, 1] }; // across

  page.setting = () => [...page.group.settings, ...page.group.timed].find((s) => s.key === state.size);
  // of what was only timed the tables show the first setting that was trained
  page.trainedSize = () => (page.group.settings.some((s) => s.key === state.size) ? state.size : page.group.settings[0]?.key ?? "");
  const timed = (setting) => setting?.key.startsWith("timed");
  const cost = () => page.setting()?.costs.find((c) => c.key === state.cost);
  const number = (value) => {
    if (value >= 1e4) for (const [size, letter] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]]) if (value >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
    return String(Number(value.toPrecision(3)));
  };
  const listed = (labels) => labels.join(", ");
  const affordable = (setting, label) => {
    const p = setting.points.find((q) => q.label === label);
    return state.budget === null || (p && p.values[state.cost] !== null && p.values[state.cost] <= state.budget * (1 + 1e-9));
  };

  // ---- the answer: which point is lit, which are level with it, and the words
  const within = () => (state.budget === null ? "Of all mixers" : `Within ${number(state.budget)} ${cost().unit}`);
  const aside = (setting, c) => {
    const lines = [], some = (labels) => labels.filter((text) => affordable(setting, text.split(" (")[0]));
    const [failed, stuck, unjudged, few] = [c.failed, c.stuck, c.unjudged, c.few].map(some);
    if (setting.missing.length) lines.push(`Without a result: ${listed(setting.missing)}.`);
    if (failed.length) lines.push(`Left out, since too many of their runs failed: ${listed(failed)}.`);
    if (stuck.length) lines.push(`Not above their baseline${setting.highest ? ` (${setting.highest})` : ""}: ${listed(stuck)}.`);
    if (unjudged.length) lines.push(`One seed and no predictions give no interval to hold against the baseline${setting.highest ? ` (${setting.highest})` : ""}: ${listed(unjudged)}.`);
    if (few.length) lines.push(`Not counted, with fewer seeds than a verdict takes: ${listed(few)}.`);
    if (c.doubt) lines.push(c.doubt);
    return lines;
  };
  const best = (setting, c) => {
    const points = setting.points, named = (i) => points[i].label;
    const price = (i) => `${number(points[i].values[c.key])} ${c.unit}`;
    if (setting.undecided) return { words: [setting.undecided] };
    if (!c.steps.length) {
      const why = c.unjudged.length ? "Too few runs to tell." : c.stuck.length ? "None: no net has left its baseline." : c.failed.length ? "Withheld: too many runs failed." : "No accuracy to compare.";
      return { head: why, words: aside(setting, { ...c, doubt: "" }) };
    }
    const step = c.steps.filter(([at]) => state.budget === null || at <= state.budget * (1 + 1e-9)).at(-1);
    if (!step) return { head: `${within()}: nothing.`, words: [`The cheapest, ${named(c.steps[0][1])}, takes ${price(c.steps[0][1])}.`, ...aside(setting, c)] };
    const [, lit, outcome, level, n] = step, names = listed(level.map(named));
    const numbers = `${points[lit].numbers[0]}; ${price(lit)}.`, seeds = `n = ${n} ${n === 1 ? "seed" : "seeds"}`;
    if (outcome === "open") return {
      level: n < FEWEST ? [lit] : [lit, ...level], head: `${within()}: ${n < FEWEST ? "too few seeds" : "too small a difference"} to tell.`,
      words: [`The highest mean is that of ${named(lit)}, ${numbers}`,
        n < FEWEST ? `With fewer than ${FEWEST} seeds of a mixer no difference is judged.` : `No clear difference to ${names} (at least ${seeds} each). More seeds or longer training would tell.`, ...aside(setting, c)],
    };
    const told = {
      clear: `Clearly more accurate than every other mixer ${state.budget === null ? "here" : "within it"}.`,
      likely: "Likely the most accurate: every 95 % interval of a difference leaves out 0, but not all stand correction for their number.",
      shared: `No clear difference to ${names}.`,
      alone: `The only one ${state.budget === null ? "here" : "within it"}.`,
    };
    return { lit, level, head: `${within()}: `, name: named(lit), words: [numbers, told[outcome], ...aside(setting, c)] };
  };
  const fastest = (setting, c) => {
    const points = setting.points, known = points.filter((p) => p.values[c.key] !== null);
    const order = [...known].sort((a, b) => a.values[c.key] - b.values[c.key]), first = order[0];
    const price = (p) => `${number(p.values[c.key])} ${c.unit}`, lines = [];
    if (c.key === "net_forward_ms_per_image") lines.push(setting.doubt ? `${price(first)}; ${setting.doubt}.` : `${price(first)}.${setting.level.length ? ` No clear difference to ${listed(setting.level)}.` : " Clearly faster than all others."}`);
    else lines.push(`${price(first)}.`);
    const rival = points[setting.attention];
    if (rival && rival !== first && rival.values[c.key] !== null) lines.push(`attention: ${price(rival)}.`);
    const fit = order.filter((p) => affordable(setting, p.label));
    if (state.budget !== null) lines.push(`Within ${number(state.budget)} ${c.unit}: ${fit.length ? listed(fit.map((p) => p.label)) : "nothing"} (${fit.length} of ${known.length}).`);
    lines.push("No net was trained at this size, so that its accuracy is not known.");
    return { lit: points.indexOf(first), head: c.key === "peak_memory_bytes" ? "Least memory: " : "Fastest: ", name: first.label, words: lines };
  };
  const answer = () => {
    const setting = page.setting(), c = cost();
    if (!c) return { head: setting ? "No cost was measured of these nets." : "Nothing was trained or timed here.", words: [] };
    return timed(setting) ? fastest(setting, c) : best(setting, c);
  };

  const say = (found) => {
    const place = byId("answer"), head = make("p", { className: "head" }, found.head ?? "");
    if (found.name) head.append(make("strong", { textContent: found.name }));
    place.replaceChildren(head, ...found.words.map((textContent) => make("p", { textContent })));
    const point = found.lit === undefined ? undefined : page.setting().points[found.lit];
    page.detail(point);
  };
  page.detail = (point) => {
    byId("told")?.remove();
    if (!point) return;
    const told = make("details", { id: "told" }, make("summary", { textContent: `${point.label}: numbers, command, paper` }));
    told.append(...point.numbers.map((textContent) => make("p", { textContent })), page.command(point.command, `the command of ${point.label}`), ...page.links(point.label));
    byId("answer").after(told);
    return told;
  };

  // ---- drawing
  // the most accurate by budget, with a gap where that cannot be told
  const front = (setting, c, end) => {
    const x = [], y = [];
    (c.steps ?? []).forEach(([at, lit, outcome], i) => {
      const told = outcome !== "open", next = c.steps[i + 1];
      x.push(at, next?.[0] ?? end);
      y.push(...(told ? Array(2).fill(setting.points[lit].y) : [null, null]));
    });
    return { x, y };
  };
  page.drawPicture = () => {
    const setting = page.setting(), c = cost(), found = answer(), { ink, soft } = page.inks();
    const upKey = timed(setting) ? (state.cost === "peak_memory_bytes" ? "net_forward_ms_per_image" : "peak_memory_bytes") : null;
    const up = (p) => (upKey ? p.values[upKey] : p.y);
    const points = c ? setting.points.filter((p) => p.values[c.key] !== null && up(p) !== null) : [];
    say(found);
    byId("unit").textContent = c?.unit ?? "";
    for (const input of [slider, exact]) input.disabled = !points.length;
    const xs = points.map((p) => p.values[c.key]), ys = points.map(up);
    const isLog = (values) => Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 3;
    const [lx, ly] = [points.length > 0 && isLog(xs), upKey !== null && isLog(ys)];
    const ends = points.flatMap((p) => (upKey ? [up(p)] : p.between ?? [p.y]));
    const baselines = upKey ? [] : setting?.baselines ?? [];
    const rx = points.length ? page.span(xs, lx, 0.1) : [0, 1], ry = points.length ? page.span([...ends, ...baselines.map(([, v]) => v)], ly, 0.07) : [0, 1];
    axis = { log: lx, range: rx };
    place();
    const chart = byId("picture-plot"), width = chart.clientWidth - 76, height = chart.clientHeight - 80;
    const at = (v, l, r) => ((l ? Math.log10(v) : v) - r[0]) / (r[1] - r[0]);
    const rank = (p) => {
      const i = setting.points.indexOf(p);
      if (i === found.lit) return 0;
      if (found.level?.includes(i)) return 1;
      return affordable(setting, p.label) && page.inFamily(p) ? 2 : 3;
    };
    const order = [...points].sort((a, b) => rank(a) - rank(b));
    const ranks = order.map(rank), texts = page.placed(order.map((p) => ({ label: p.label, px: at(p.values[c.key], lx, rx) * width, py: (1 - at(up(p), ly, ry)) * height })), width, height);
    const stuck = new Set(setting?.costs.flatMap((k) => k.stuck ?? []));
    const far = rx[1] - (rx[1] - rx[0]) * 0.01;
    const line = upKey || !c ? { x: [] } : front(setting, c, lx ? 10 ** far : far), traces = [];
    if (line.x.length) traces.push({ ...line, mode: "lines", hoverinfo: "skip", connectgaps: false,
      line: { color: soft, width: 1.5, dash: "dot" }, name: "best by budget" });
    const error = (key, value) => ({ type: "data", symmetric: false, color: page.isDark() ? "rgba(157,167,177,.45)" : "rgba(110,119,129,.45)", thickness: 1, width: 2,
      array: order.map((p) => key(p) ? key(p)[1] - value(p) : 0), arrayminus: order.map((p) => key(p) ? value(p) - key(p)[0] : 0) });
    if (points.length) traces.push({
      x: order.map((p) => p.values[c.key]), y: order.map(up), mode: "markers+text", type: "scatter", name: "mixers", cliponaxis: false,
      text: texts.map(([text]) => page.plainText(text)), textposition: texts.map(([, where]) => where),
      textfont: { size: ranks.map((r) => (r === 0 ? 14 : 12)), color: ranks.map((r) => (r === 3 ? soft : ink)) },
      marker: { size: ranks.map((r) => [17, 13, 10, 8][r]), color: order.map((p) => page.colour(p.colour)), symbol: order.map((p) => p.symbol),
        opacity: ranks.map((r, i) => (r === 3 ? 0.3 : stuck.has(order[i].label) ? 0.4 : 1)),
        line: { width: ranks.map((r) => [3, 2, 0, 0][r]), color: ink } },
      error_y: upKey ? undefined : error((p) => p.between, up), error_x: order.some((p) => p.intervals[c.key]) ? error((p) => p.intervals[c.key], (p) => p.values[c.key]) : undefined,
      hovertext: order.map((p) => `<b>${page.plainText(p.label)}</b> (${page.plainText(p.family)})<br>${p.numbers.map((n) => page.broken(n, 58)).join("<br>")}<br><br>${page.broken(p.command, 58)}`),
      hovertemplate: "%{hovertext}<extra></extra>", meta: order.map((p) => p.label),
    });
    const upTitle = upKey ? (upKey === "peak_memory_bytes" ? "peak memory (MB)" : "latency, forward (ms)") : setting?.score ?? "";
    const limit = state.budget === null ? [] : [{ type: "rect", xref: "x", yref: "paper", x0: state.budget, x1: lx ? 10 ** rx[1] : rx[1], y0: 0, y1: 1, layer: "below",
      fillcolor: page.isDark() ? "rgba(139,148,158,.16)" : "rgba(87,96,106,.10)", line: { width: 0 } },
      { type: "line", xref: "x", yref: "paper", x0: state.budget, x1: state.budget, y0: 0, y1: 1, line: { color: ink, width: 1.5 } }];
    const { shapes, annotations } = page.baselineMarks(baselines, ry);
    page.draw("picture", traces, {
      showlegend: false, shapes: [...shapes, ...limit], annotations, margin: { l: 62, r: 14, t: 12, b: 46 },
      xaxis: { title: { text: !c ? "" : c.label === c.unit ? c.label : `${c.label} (${c.unit})` }, type: lx ? "log" : "linear", range: rx, ...page.numberTicks(xs.length ? xs : [1], lx) },
      yaxis: { title: { text: upTitle }, type: ly ? "log" : "linear", range: ry, ...(ly ? page.numberTicks(ys, true) : {}) },
    });
    const absent = c ? setting.points.filter((p) => !points.includes(p)).map((p) => p.label) : [];
    byId("picture-caption").textContent = [setting?.caption ?? "", upKey ? "" : "Bars: 95 % intervals. Dotted: the most accurate by budget, where that can be told. Ringed: the best, and those not clearly different.",
      absent.length ? `Without this cost: ${listed(absent)}.` : ""].join(" ").trim();
  };

  // ---- the budget: a slider along the axis, and a number to type
  const toBudget = (position) => {
    if (position >= STEPS) return null;
    const v = axis.range[0] + (axis.range[1] - axis.range[0]) * position / STEPS;
    return Number((axis.log ? 10 ** v : v).toPrecision(3));
  };
  const place = () => {
    const v = state.budget === null ? null : axis.log ? Math.log10(state.budget) : state.budget;
    slider.value = v === null ? STEPS : Math.round(Math.min(1, Math.max(0, (v - axis.range[0]) / (axis.range[1] - axis.range[0]))) * (STEPS - 1));
    slider.setAttribute("aria-valuetext", v === null ? "no limit" : `${number(state.budget)} ${cost()?.unit ?? ""}`);
    if (document.activeElement !== exact) exact.value = state.budget ?? "";
  };
  slider.addEventListener("input", () => { page.keep({ budget: toBudget(Number(slider.value)) }); page.drawPicture(); });
  exact.addEventListener("input", () => {
    const value = Number(exact.value);
    page.keep({ budget: exact.value === "" || !(value > 0) ? null : value });
    page.drawPicture();
  });

  // ---- the choosers
  page.fillSizes = () => {
    const { settings, timed: sizes } = page.group, option = (s) => new Option(s.title, s.key);
    const trained = make("optgroup", { label: "trained: accuracy and cost" }, ...settings.map(option));
    const only = make("optgroup", { label: "timed alone: no accuracy" }, ...sizes.map(option));
    inputs.size.replaceChildren(...[trained, only].filter((part) => part.childElementCount));
    if (!page.setting()) state.size = (settings[0] ?? sizes[0])?.key ?? "";
    inputs.size.value = state.size;
  };
  page.fillCosts = () => {
    const found = page.setting()?.costs ?? [];
    inputs.cost.replaceChildren(...found.map((c) => new Option(c.label, c.key)));
    if (found.some((c) => c.key === page.wantedCost)) state.cost = page.wantedCost;
    else if (!cost()) state.cost = found[0]?.key ?? "";
    page.wantedCost ||= state.cost; // a task without it does not change what the next one shows
    inputs.cost.value = state.cost;
  };
  inputs.size.addEventListener("change", () => page.show({ size: inputs.size.value, budget: null }));
  inputs.cost.addEventListener("change", () => page.show({ cost: (page.wantedCost = inputs.cost.value), budget: null }));
  page.onPoint = (label) => {
    const told = page.detail(page.setting().points.find((p) => p.label === label));
    if (told) told.open = true;
  };
})();
