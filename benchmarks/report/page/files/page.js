"use strict";
// What is shown: the address says it, the choosers change it, and every section follows.
(() => {
  const { byId, make, state, data } = page;
  const root = document.documentElement;
  const WORDS = ["task", "size", "cost", "budget", "family", "find"];

  // ---- theme
  const darkWanted = window.matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    byId("theme").textContent = theme === "dark" ? "Light page" : "Dark page";
    if (page.group) page.redraw();
  };
  byId("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
  darkWanted.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
  setTheme(darkWanted.matches ? "dark" : "light");

  // ---- the address holds the view
  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    const text = (name) => given.get(name) ?? "", budget = Number(text("budget"));
    Object.assign(state, Object.fromEntries(WORDS.map((name) => [name, text(name)])), { budget: budget > 0 ? budget : null });
    page.wantedCost = state.cost;
    if (!data.groups.some((g) => g.name === state.task)) state.task = data.groups[0]?.name ?? "";
    return given.get("at");
  };
  page.keep = (changes, at) => {
    Object.assign(state, changes);
    const words = WORDS.filter((name) => state[name]).map((name) => [name, state[name]]);
    history.replaceState(null, "", `#${new URLSearchParams(at ? [...words, ["at", at]] : words)}`);
  };
  const goTo = (id) => {
    const place = byId(id);
    if (!place) return;
    place.scrollIntoView();
    place.tabIndex = -1;
    place.focus({ preventScroll: true });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link) return;
    event.preventDefault();
    page.keep({}, link.hash.slice(1));
    goTo(link.hash.slice(1));
  });
  window.addEventListener("hashchange", () => showGroup(read()));

  // ---- a group, a setting of it
  const answers = () => {
    for (const place of document.querySelectorAll("[data-answer]")) {
      const lines = page.group.answers[place.dataset.answer] ?? [];
      place.replaceChildren();
      if (!lines.length) continue;
      place.append(make("p", { className: "lead" }, make("span", { className: "soft", textContent: `${place.dataset.answer} ` }), lines[0]));
      if (lines.length > 1) place.append(make("details", {}, make("summary", { textContent: "In detail" }), make("ul", {}, ...lines.slice(1).map((textContent) => make("li", { textContent })))));
    }
  };
  let waitingRest;
  const showGroup = (at) => {
    page.group = data.groups.find((g) => g.name === state.task);
    if (!page.group) { // studies alone
      for (const id of ["picture", "ranking", "scaling", "patches", "claims", "sure", "provenance"]) byId(id).hidden = true;
      page.fillTables();
      root.dataset.whole = "yes";
      return;
    }
    byId("task").value = state.task;
    const long = document.querySelector("[data-long]"), names = Object.keys(page.group.tables).filter((name) => /^long\d/.test(name));
    long.hidden = !names.length;
    long.replaceChildren(long.firstElementChild, ...names.map((name) => { const place = make("div"); place.dataset.table = name; return place; }));
    byId("no-settled").hidden = Boolean(page.group.tables.settled);
    byId("patches").hidden = page.group.words.sequences && !page.group.answers["Does mixing matter?"];
    byId("provenance-caption").textContent = page.group.caption;
    answers();
    page.fillCharts();
    page.fillSizes();
    showSetting(page.drawPicture);
    clearTimeout(waitingRest);
    delete root.dataset.whole;
    waitingRest = setTimeout(() => { // the picture is there before all else
      page.fillTables();
      page.drawOthers();
      if (at) goTo(at);
      root.dataset.whole = "yes";
    }, 0);
  };
  const showSetting = (redraw = page.redraw) => {
    page.fillCosts();
    for (const name of ["ranked", "paired"]) page.rows(name, "setting", page.trainedSize());
    page.rows("ranked", "family", state.family);
    for (const button of document.querySelectorAll("[data-family][aria-pressed]")) button.setAttribute("aria-pressed", String(button.dataset.family === state.family));
    redraw();
  };
  page.show = (changes) => { page.keep(changes); showSetting(); page.keep({}); };
  byId("choose").addEventListener("submit", (event) => event.preventDefault());
  byId("task").addEventListener("change", () => { page.keep({ task: byId("task").value, size: "", budget: null, find: "" }); showGroup(); page.keep({}); });
  for (const button of document.querySelectorAll("button[data-family]"))
    button.addEventListener("click", () => page.show({ family: state.family === button.dataset.family ? "" : button.dataset.family }));
  showGroup(read());

  // ---- the window, the printer
  let waiting;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => page.redraw(), 150); });
  window.addEventListener("beforeprint", () => {
    page.printing = true;
    root.dataset.screenTheme = root.dataset.theme;
    root.dataset.theme = "light";
    page.redraw();
    page.unfold(true);
    document.querySelectorAll(".plot").forEach((p) => { if (p.data) Plotly.relayout(p, { width: 680, height: 380 }); });
  });
  window.addEventListener("afterprint", () => {
    page.printing = false;
    page.unfold(false);
    setTheme(root.dataset.screenTheme);
    document.querySelectorAll(".plot").forEach((p) => { if (p.data) Plotly.relayout(p, { width: null, height: null, autosize: true }); });
  });
})();
