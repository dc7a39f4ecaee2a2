"use strict";
// What all scripts of the page share, and its tables: built when they are looked at.
const page = { data: JSON.parse(document.getElementById("data").textContent), tables: {}, state: {} };
page.byId = (id) => document.getElementById(id);
page.make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

(() => {
  const { byId, make } = page;
  const LONG = 36; // letters of a cell of numbers, from which it is a sentence
  const FIRST = 10; // rows of a long table, until it is unfolded

  // ---- a command: shown, and copied
  const copyButton = (text, what) => {
    const button = make("button", { type: "button", className: "small", textContent: "copy", ariaLabel: `copy ${what}` });
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch { // where there is no clipboard the text is marked, to be copied by hand
        window.getSelection().selectAllChildren(button.previousSibling);
        button.textContent = "marked";
      }
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    return button;
  };
  page.command = (text, what) => make("span", { className: "command" }, make("code", { textContent: text }), copyButton(text, what));

  // ---- where a mixer comes from
  const link = (href, textContent) => make("a", { href, textContent });
  page.links = (label) => {
    const facts = page.data.mixers[label];
    if (!facts) return [];
    const place = `${facts.file}:${facts.line}`, home = page.data.repository;
    const source = home.startsWith("http") ? link(`${home}/blob/HEAD/${facts.file}#L${facts.line}`, place)
      : home ? link(`${home}/${facts.file}`, place) : place;
    const title = `${facts.paper}${facts.year ? `, ${facts.year}` : ""}`;
    return [make("p", {}, facts.url ? link(facts.url, title) : title), make("p", {}, "source: ", source)];
  };

  // ---- cells
  // a row's command, paper, source and records unfold below it, as wide as the table is seen
  const againButton = (cell) => {
    const button = make("button", { type: "button", className: "small", textContent: cell.text, ariaExpanded: "false" });
    button.addEventListener("click", () => {
      const tr = button.closest("tr"), label = tr.cells[1].innerText, row = page.tables.ranked.row(tr);
      if (row.child.isShown()) row.child.hide();
      else {
        const again = make("div", { className: "again" }, page.command(cell.command, `the command of ${label}`), ...page.links(label));
        if (cell.records) again.append(make("p", { className: "soft", textContent: `records: ${cell.records}` }));
        row.child(again).show();
      }
      button.ariaExpanded = String(row.child.isShown());
    });
    return button;
  };
  const VERDICTS = ["supported", "contradicted", "undecided", "yes", "no", "open"];
  const cellOf = (value, header) => {
    const cell = typeof value === "string" ? { text: value } : Array.isArray(value) ? { text: value[0], order: value[1] } : value;
    const td = document.createElement("td");
    if (cell.order !== undefined) td.dataset.order = cell.order;
    if (cell.colour) {
      td.className = "whole";
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = cell.colour;
      td.append(swatch);
    }
    if (cell.share !== undefined) {
      td.className = "heat";
      td.style.setProperty("--share", `${Math.round(cell.share * 62)}%`);
    }
    const word = cell.text.split(":")[0];
    if (cell.more) td.append(make("details", {}, make("summary", { textContent: cell.text }), ...cell.more.map((textContent) => make("p", { textContent }))));
    else if (cell.command) td.append(againButton(cell));
    else if (VERDICTS.includes(word) && header !== "family") {
      td.append(make("span", { className: `verdict ${word}`, textContent: word }), cell.text.slice(word.length));
    } else td.append(cell.text);
    return td;
  };

  const dom = (table) => {
    const head = make("tr"), body = make("tbody");
    table.header.forEach((name, i) => head.append(make("th", { scope: "col", textContent: name, className: i >= table.left ? "number" : "" })));
    table.rows.forEach((row, i) => {
      const tr = make("tr");
      for (const [name, values] of [["family", table.families], ["setting", table.settings], ["against", table.against]])
        if (values?.length) tr.dataset[name] = values[i];
      row.forEach((value, j) => {
        const td = cellOf(value, table.header[j]);
        if (j >= table.left) td.classList.add(td.textContent.length > LONG ? "long" : "number");
        tr.append(td);
      });
      body.append(tr);
    });
    return make("table", { className: "data" }, make("thead", {}, head), body);
  };

  // ---- files of a table as it is shown: filtered, sorted
  const shownRows = (node, api) => {
    const kept = [...node.tHead.rows[0].cells].map((c, i) => [c.innerText.trim(), i]).filter(([name]) => name !== "again");
    const rows = api.rows({ search: "applied", order: "applied" }).nodes().toArray();
    return [kept.map(([name]) => name), ...rows.map((row) => kept.map(([, i]) => row.cells[i].textContent.trim()))];
  };
  const csv = (rows) => rows.map((row) => row.map((text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text)).join(",")).join("\n") + "\n";
  const latex = (rows) => {
    const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "–": "--" };
    const escaped = (text) => text.replace(/[\\~^−–&%$#_{}]/g, (c) => special[c] ?? `\\${c}`);
    const lines = rows.map((row) => `${row.map(escaped).join(" & ")} \\\\`);
    return [`\\begin{tabular}{ll${"r".repeat(rows[0].length - 2)}}`, "\\toprule", lines[0], "\\midrule", ...lines.slice(1), "\\bottomrule", "\\end{tabular}", ""].join("\n");
  };
  const saved = (name, ending, text) => {
    const href = URL.createObjectURL(new Blob([text], { type: ending === "csv" ? "text/csv" : "text/plain" }));
    make("a", { href, download: `${name}.${ending}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  };

  // ---- a table in its place
  const build = (place, table, id) => {
    const node = dom(table), caption = make("p", { className: "caption", id: `table-${id}-caption`, textContent: table.caption });
    node.id = `table-${id}`;
    node.setAttribute("aria-labelledby", caption.id);
    const box = make("div", { className: "box", role: "group", tabIndex: 0 }, node);
    box.setAttribute("aria-labelledby", caption.id);
    const bar = make("div", { className: "bar" });
    place.replaceChildren(bar, box, caption);
    const long = table.rows.length > FIRST;
    const api = page.tables[id] = new DataTable(node, {
      paging: long, pageLength: FIRST, info: false, autoWidth: false, order: [],
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    });
    if (long) {
      const search = make("input", { type: "search", id: `${id}-search` });
      search.addEventListener("input", () => { api.search(search.value).draw(); if (id === "ranked") page.keep({ find: search.value }); });
      bar.append(make("label", {}, "search ", search));
    }
    if (table.against) {
      const select = make("select", { id: `${id}-against` }, ...[...new Set(table.against)].map((name) => new Option(name, name)), new Option("all", ""));
      select.addEventListener("change", () => page.rows(id, "against", select.value));
      bar.append(make("label", {}, "against ", select));
      page.rows(id, "against", select.value);
    }
    if (id === "ranked") {
      for (const [ending, word, made] of [["csv", "CSV", csv], ["tex", "LaTeX", latex]]) {
        const button = make("button", { type: "button", className: "small", textContent: word, ariaLabel: `download this table as ${word}` });
        button.addEventListener("click", () => saved(`ranking-${page.state.task.replace(/\W+/g, "-")}`, ending, made(shownRows(node, api))));
        bar.append(button);
      }
    }
    if (long) {
      const more = make("button", { type: "button", className: "small more" });
      const unfolded = () => api.page.len() === -1;
      more.addEventListener("click", () => api.page.len(unfolded() ? FIRST : -1).draw());
      const say = () => {
        const rows = api.rows({ search: "applied" }).count();
        more.hidden = rows <= FIRST;
        more.textContent = unfolded() ? `the first ${FIRST} rows` : `all ${rows} rows`;
      };
      api.on("draw", say);
      say();
      box.after(more);
    }
    if (table.settings?.length) page.rows(id, "setting", page.trainedSize());
    if (id === "ranked" && page.state.family) page.rows(id, "family", page.state.family);
    if (id === "ranked" && page.state.find) { byId(`${id}-search`).value = page.state.find; api.search(page.state.find).draw(); }
  };
  // on paper a table is whole
  page.unfold = (all) => Object.values(page.tables).forEach((api) => { if (api.init().paging) api.page.len(all ? -1 : FIRST).draw(); });
  page.rows = (id, name, wanted) => {
    const api = page.tables[id];
    if (!api) return;
    const all = name !== "setting" && !wanted;
    api.search.fixed(name, all ? null : (_text, _row, index) => api.row(index).node().dataset[name] === wanted).draw();
  };

  // ---- which tables are looked at: those that no closed part hides
  const open = (node) => !node.closest("details:not([open])") && !node.closest("[hidden]");
  const fill = (within) => {
    const group = page.group;
    for (const place of within.querySelectorAll("[data-table], [data-own]")) {
      const name = place.dataset.table ?? place.dataset.own;
      const table = place.dataset.table ? group?.tables[name] : page.data.tables[name];
      if (table && open(place) && !place.childElementCount) build(place, table, name);
    }
  };
  page.fillTables = () => {
    for (const place of document.querySelectorAll("[data-table]")) {
      delete page.tables[place.dataset.table];
      place.replaceChildren();
    }
    for (const part of document.querySelectorAll("details[data-any]"))
      part.hidden = !part.dataset.any.split(" ").some((name) => page.group?.tables[name]);
    fill(document);
  };
  document.addEventListener("toggle", (event) => { if (event.target.open) fill(event.target); }, true);
})();
