/* Choosers, what stands behind a point, and tables of points that are made when they are opened. Loads nothing. */
(function () {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const all = (selector, inside) => Array.from((inside || document).querySelectorAll(selector));
  const element = (name, text) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const shown = (value) => (value === null || value === undefined ? "–" : String(value).replace("-", "−"));

  function choose() {
    all(".choice").forEach((part) => {
      const chooser = document.getElementById(part.dataset.for);
      part.classList.toggle("chosen", !chooser || chooser.value === part.dataset.value);
    });
  }
  all("select").forEach((select) => select.addEventListener("change", choose));

  /* The trial behind a dot: its group names claim, cell and outcome, and holds the dots row by row. */
  function point(dot) {
    const parts = dot.parentNode.dataset.points.split(".");
    const [cell, outcome] = parts.splice(-2);
    const found = page.claims[parts.join(".")]; // a study's name may have dots
    const own = found.cells[cell];
    let place = Array.from(dot.parentNode.children).indexOf(dot);
    for (let i = 0; i < own.seeds.length; i += 1) {
      for (let j = 0; j < own.levels.length; j += 1) {
        if (own.x[i][j] === null || own.y[outcome][i][j] === null) continue;
        if (place === 0) {
          return { cell: own, found: found, seed: own.seeds[i], level: own.levels[j], x: own.x[i][j],
            y: own.y.map((values) => values[i][j]), keys: own.keys[i][j].map((k) => page.keys[k]) };
        }
        place -= 1;
      }
    }
    return null;
  }

  let tip = null;
  function hide() { if (tip) tip.remove(); tip = null; }
  function show(dot) {
    hide();
    const one = point(dot);
    if (!one) return;
    tip = element("div");
    tip.className = "tip";
    tip.setAttribute("role", "status");
    tip.append(element("strong", one.cell.name), element("br"), one.level + ", seed " + one.seed, element("br"),
      one.cell.predictor + " " + shown(one.x));
    one.found.outcomes.forEach((name, i) => tip.append(element("br"), name + " " + shown(one.y[i])));
    tip.append(element("br"), "trial " + (one.keys.length > 1 ? "pair " : ""), element("code", one.keys.join(" − ")));
    document.body.append(tip);
    const box = dot.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left + 12, root.clientWidth - tip.offsetWidth - 8));
    tip.style.left = left + window.scrollX + "px";
    tip.style.top = box.top + window.scrollY - tip.offsetHeight - 8 + "px";
  }
  document.addEventListener("pointerover", (event) => {
    const dot = event.target.closest && event.target.closest("[data-points] circle");
    if (dot) show(dot); else hide();
  });

  function table(claim) {
    const found = page.claims[claim];
    const made = element("table");
    made.className = "data";
    const head = made.createTHead().insertRow();
    const heading = (text, kind) => { const cell = element("th", text); cell.scope = "col"; cell.className = kind; head.append(cell); };
    ["cell", "strength"].forEach((text) => heading(text, "text"));
    ["seed", "measured"].concat(found.outcomes).forEach((text) => heading(text, ""));
    heading("trial", "text");
    const body = made.createTBody();
    found.cells.forEach((cell) => cell.levels.forEach((level, j) => cell.seeds.forEach((seed, i) => {
      const row = body.insertRow();
      const put = (text, kind) => { const place = row.insertCell(); place.textContent = text; place.className = kind; };
      put(cell.name, "text"); put(level, "text"); put(String(seed), ""); put(shown(cell.x[i][j]), "");
      cell.y.forEach((values) => put(shown(values[i][j]), ""));
      const keys = cell.keys[i][j].map((k) => page.keys[k]);
      const place = row.insertCell();
      place.className = "text";
      place.append(keys.length ? element("code", keys.join(" − ")) : "no answer");
    })));
    return made;
  }
  all(".points").forEach((part) => part.addEventListener("toggle", () => {
    const inside = part.querySelector(".scroll");
    if (part.open && !inside.firstChild) inside.append(table(part.dataset.claim));
  }));

  choose();
  root.dataset.ready = "true";
})();
