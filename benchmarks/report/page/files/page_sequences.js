"use strict";
// Groups of sequences: an axis of lengths, a dashed line for every predictor that is no net, and pale, what has not left
// them. Read before page.js, which draws all charts through Plotly.react.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const react = Plotly.react;
  const near = 0.055; // of the axis: labels that would touch share a line

  const byLength = (axis, traces, words) => {
    axis.title = { text: words.axis };
    axis.ticktext = axis.tickvals.map((size) => size.toLocaleString("en"));
    for (const t of traces) t.hovertemplate = t.hovertemplate?.replace("per image", `per ${words.noun}`);
  };

  const joined = (baselines, height) => {
    const groups = [];
    for (const [label, value] of baselines) {
      const last = groups.at(-1);
      if (last && value - last.value < near * height) last.labels.push(label);
      else groups.push({ value, labels: [label] });
    }
    return groups;
  };

  const withBaselines = (layout, traces, baselines) => {
    const values = [...traces.flatMap((t) => t.y ?? []), ...baselines.map(([, value]) => value)];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const pad = 0.07 * (high - low || 1);
    layout.yaxis.range = [low - pad, high + pad];
    const grey = document.documentElement.dataset.theme === "dark" ? "#8b949e" : "#6e7781";
    layout.shapes = baselines.map(([, value]) => ({
      type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, layer: "below",
      line: { color: grey, width: 1, dash: "dash" },
    }));
    layout.annotations = joined(baselines, high - low).map(({ value, labels }) => ({
      xref: "paper", x: 1, xanchor: "right", y: value, yanchor: "bottom", showarrow: false,
      text: labels.join(", "), font: { size: 11, color: grey },
    }));
  };

  const paleOnes = (chart, traces, names) => {
    for (const t of traces) {
      if (chart === "curves" && names.includes(t.name)) t.opacity = 0.4 * (t.opacity ?? 1);
      if (chart === "tradeoff" && t.meta) t.marker.opacity = t.meta.map((m) => (names.includes(m.name) ? 0.4 : 1));
    }
  };

  Plotly.react = (node, traces, layout, config) => {
    const [group, chart] = node.id.split("-");
    const found = data[group];
    if (found?.sequences && chart === "sizes") byLength(layout.xaxis, traces, found.sequences);
    const chosen = document.getElementById(`${group}-setting`);
    const setting = found?.settings.find((s) => !chosen || s.key === chosen.value);
    const accuracy = layout.yaxis?.title?.text?.includes("top-1 accuracy (%)");
    if (setting?.baselines && accuracy) withBaselines(layout, traces, setting.baselines);
    if (setting?.pale) paleOnes(chart, traces, setting.pale);
    return react(node, traces, layout, config);
  };
})();
