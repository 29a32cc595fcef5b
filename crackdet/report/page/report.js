"use strict";
// Draws the figures in the colours of the theme, and sorts and filters the tables. All data is text, never markup.
const PRINT_SIZE = { width: 660, height: 300 }; // pixels between the margins of an A4 page

const root = document.documentElement;
const figures = JSON.parse(document.getElementById("figures").textContent);

function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function themeLayout() {
  const axis = { gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), size: 12, family: getComputedStyle(document.body).fontFamily },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("soft"), font: { color: colour("ink") } },
    modebar: { bgcolor: "transparent", color: colour("soft"), activecolor: colour("ink") },
    xaxis: axis,
    yaxis: axis,
  };
}

function withTheme(layout) {
  const theme = themeLayout();
  const merged = { ...layout, ...theme };
  for (const axis of ["xaxis", "yaxis"]) merged[axis] = { ...layout[axis], ...theme[axis] };
  return merged;
}

function draw() {
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  return Promise.all(
    Object.entries(figures).map(([id, { data, layout }]) => Plotly.react(id, data, withTheme(layout), config)),
  );
}

function resize({ width, height }) {
  for (const { layout } of Object.values(figures)) Object.assign(layout, { width, height, autosize: !width });
}

function setTheme(theme) {
  root.dataset.theme = theme;
  document.getElementById("theme").textContent = isDark() ? "Light" : "Dark";
}

function setUpTheme() {
  const button = document.getElementById("theme");
  button.hidden = false;
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", "Switch between light and dark");
  button.addEventListener("click", () => {
    setTheme(isDark() ? "light" : "dark");
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    button.textContent = isDark() ? "Light" : "Dark";
    draw();
  });
}

function setUpPrinting() {
  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    resize(PRINT_SIZE);
    draw();
  });
  addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    resize({});
    draw();
  });
}

function compare(a, b) {
  const [x, y] = [a, b].map((text) => (text === "" ? NaN : Number(text)));
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
}

function setUpTable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const limit = Number(table.dataset.shown);
  const filter = document.querySelector(`input[data-table="${table.id}"]`);
  const status = document.querySelector(`[data-found="${table.id}"]`);
  const all = document.querySelector(`[data-all="${table.id}"]`);
  let order = rows;
  let showAll = rows.length <= limit;

  function show() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = order.filter((row) => words.every((word) => row.dataset.words.includes(word)));
    const shown = new Set(showAll ? matching : matching.slice(0, limit));
    for (const row of rows) row.hidden = !shown.has(row);
    all.hidden = matching.length <= limit;
    all.textContent = showAll ? `Show only ${limit}` : `Show all ${matching.length}`;
    status.textContent = `${shown.size} of ${rows.length} rows shown`;
  }

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : head.classList.contains("falling");
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? "";
      order = rows.toSorted((a, b) => {
        if ((value(a) === "") !== (value(b) === "")) return value(a) === "" ? 1 : -1; // empty values come last
        return (descending ? -1 : 1) * compare(value(a), value(b));
      });
      body.append(...order);
      show();
    });
  });
  filter.disabled = false;
  filter.addEventListener("input", show);
  all.addEventListener("click", () => {
    showAll = !showAll;
    show();
  });
  show();
}

document.querySelectorAll("table.runs").forEach(setUpTable);
setUpTheme();
setUpPrinting();
draw().then(() => (root.dataset.drawn = "yes"));
