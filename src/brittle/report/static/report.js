/* Draws the figures from the page's data and runs its few controls. Loads nothing. */
(function () {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const all = (selector, inside) => Array.from((inside || document).querySelectorAll(selector));
  const hidden = new Set();
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false };
  let printing = false;

  function palette() {
    if (printing) return { ink: "#1b2026", soft: "#525c68", grid: "#e6e9ed", rule: "#8b95a1", paper: "#ffffff" };
    const style = getComputedStyle(root);
    const read = (name) => style.getPropertyValue(name).trim();
    return { ink: read("--ink"), soft: read("--soft"), grid: read("--grid"), rule: read("--rule"), paper: read("--paper") };
  }

  /* The layout that Python made, with the page's colours and fonts. */
  function themed(layout, colours) {
    const axis = (given) => Object.assign(
      { gridcolor: colours.grid, zerolinecolor: colours.rule, zeroline: false, linecolor: colours.rule, fixedrange: true,
        automargin: false, ticks: "", tickfont: { color: colours.soft, size: 12 } },
      given, given.title ? { title: Object.assign({ font: { color: colours.soft, size: 12 }, standoff: 10 }, given.title) } : {});
    const out = Object.assign({}, layout, {
      font: { family: getComputedStyle(document.body).fontFamily, color: colours.ink, size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: false,
      hovermode: "closest", hoverlabel: { bgcolor: colours.paper, bordercolor: colours.rule, align: "left",
        font: { color: colours.ink, size: 12.5 } },
      xaxis: axis(layout.xaxis || {}), yaxis: axis(layout.yaxis || {}),
    });
    const meta = layout.meta || {};
    out.shapes = [];
    for (let row = 1; row < (meta.rows || 0); row += 1) {
      out.shapes.push({ type: "line", layer: "below", xref: "paper", x0: 0, x1: 1, y0: row - 0.5, y1: row - 0.5,
        line: { color: meta.rules.includes(row) ? colours.rule : colours.grid, width: 1 } });
    }
    if (typeof meta.tolerance === "number") {
      out.shapes.push({ type: "line", yref: "paper", x0: meta.tolerance, x1: meta.tolerance, y0: 0, y1: 1,
        line: { color: colours.soft, width: 1.5, dash: "5px,4px" } });
      out.annotations = [{ x: meta.tolerance, y: 1, yref: "paper", yanchor: "bottom", xanchor: "left", showarrow: false,
        text: "tolerated " + meta.tolerance.toFixed(1), font: { color: colours.soft, size: 12 } }];
    }
    if (typeof meta.level === "number") {
      out.shapes.push({ type: "line", layer: "below", xref: "paper", x0: 0, x1: 1, y0: meta.level, y1: meta.level,
        line: { color: colours.soft, width: 1, dash: "2px,3px" } });
    }
    return out;
  }

  function traces(given, colours) {
    return given.map((trace) => {
      const copy = JSON.parse(JSON.stringify(trace));
      const meta = trace.meta || {};
      copy.visible = !hidden.has(meta.net);
      if (meta.ink) Object.assign(copy.marker, { color: colours.paper, line: { color: colours.ink, width: 1.8 } });
      return copy;
    });
  }

  /* Lines of one layer's values, one for each net. */
  function curve(kind) {
    const chosen = document.getElementById("curve-layer");
    const layer = page.curves[chosen ? Number(chosen.value) : 0];
    const logarithmic = document.getElementById("curve-log").checked;
    const lines = page.nets.filter((net) => layer[kind][net.key]).map((net) => {
      const y = layer[kind][net.key];
      const x = y.map((_, i) => (y.length > 1 ? i / (y.length - 1) : 0));
      return { type: "scatter", mode: y.length > 40 ? "lines" : "lines+markers", x: x, y: y, meta: { net: net.key },
        line: { color: net.colour, width: 2, dash: net.dash === "dot" ? "3px,3px" : "solid" },
        marker: { color: net.colour, symbol: net.symbol, size: 5 }, name: net.name,
        hovertemplate: "%{y:.3g}<extra></extra>" };
    });
    const layout = { height: 260, margin: { l: 52, r: 12, t: 10, b: 44 },
      xaxis: { title: { text: "place in the sorted list" }, tickformat: ".0%", range: [-0.02, 1.02] },
      yaxis: logarithmic ? { type: "log", exponentformat: "power", dtick: 1 } : { rangemode: "tozero" } };
    return { traces: lines, layout: layout };
  }

  function figure(chart) {
    if (chart.dataset.curve) return page.curves.length ? curve(chart.dataset.curve) : null;
    const chooser = chart.dataset.choose && document.getElementById(chart.dataset.choose);
    return page.figures[chart.dataset.figure + (chooser ? "-" + chooser.value : "")];
  }

  function draw(chart) {
    const found = figure(chart);
    const panel = chart.closest(".pair > div");
    if (panel) panel.hidden = !found; // not every net has every choice
    if (!found || !window.Plotly) return;
    const colours = palette();
    const layout = themed(found.layout, colours);
    layout.width = printing ? Math.min(chart.clientWidth, 660) : undefined;
    chart.style.minHeight = layout.height + "px";
    window.Plotly.react(chart, traces(found.traces, colours), layout, config);
  }
  const drawAll = () => all(".chart").forEach(draw);

  /* Only what a chooser has selected is shown. */
  function choose() {
    all(".choice").forEach((part) => {
      const chooser = document.getElementById(part.dataset.for);
      part.classList.toggle("chosen", !chooser || chooser.value === part.dataset.value);
    });
  }

  function sort(table, heading) {
    const column = Array.from(heading.parentNode.children).indexOf(heading);
    const descending = heading.getAttribute("aria-sort") === "ascending";
    all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    all("tbody", table).forEach((body) => {
      const value = (row) => row.children[column].dataset.v;
      const rows = Array.from(body.rows).sort((one, other) => {
        const a = value(one), b = value(other);
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // missing values stay last
        const numbers = Number(a) - Number(b);
        const order = Number.isNaN(numbers) ? a.localeCompare(b, "en", { numeric: true }) : numbers;
        return descending ? -order : order;
      });
      rows.forEach((row) => body.appendChild(row));
    });
  }

  function columns() {
    const box = document.getElementById("all-metrics");
    const every = box !== null && box.checked;
    const table = document.getElementById("layer-table");
    table.classList.toggle("all", every);
    all(".groups th", table).forEach((head) => { head.colSpan = Math.max(1, every ? head.dataset.all : head.dataset.main); });
  }

  all("select").forEach((select) => select.addEventListener("change", () => {
    choose();
    all(".chart").filter((chart) => chart.dataset.choose === select.id).forEach(draw);
    if (select.id === "curve-layer") all("[data-curve]").forEach(draw);
  }));
  all(".sortable th button").forEach((button) =>
    button.addEventListener("click", () => sort(button.closest("table"), button.closest("th"))));
  all(".chip").forEach((chip) => chip.addEventListener("click", () => {
    const net = chip.dataset.net;
    if (hidden.has(net)) hidden.delete(net); else hidden.add(net);
    all(".chip").filter((other) => other.dataset.net === net)
      .forEach((other) => other.setAttribute("aria-pressed", String(!hidden.has(net))));
    drawAll();
  }));
  const metrics = document.getElementById("all-metrics");
  if (metrics) metrics.addEventListener("change", columns);
  const logarithmic = document.getElementById("curve-log");
  if (logarithmic) logarithmic.addEventListener("change", () => all("[data-curve]").forEach(draw));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => { printing = true; drawAll(); });
  window.addEventListener("afterprint", () => { printing = false; drawAll(); });

  columns();
  choose();
  drawAll();
  root.dataset.ready = "true";
})();
