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

// A dialog with one image; the arrow keys show the previous and the next image.
function setUpViewer() {
  const dialog = document.getElementById("viewer");
  const [previous, next, close] = dialog.querySelectorAll("button");
  const [text, mark] = [".text", "input"].map((selector) => dialog.querySelector(selector));
  const [image, context] = [document.createElement("img"), document.createElement("img")];
  image.alt = context.alt = "";
  context.className = "context";
  dialog.querySelector(".images").append(image, context);
  let items = [];
  let shown = 0;

  function show(index) {
    shown = (index + items.length) % items.length;
    const item = items[shown];
    const picture = item.querySelector("img");
    image.src = picture ? picture.src : "";
    image.alt = picture ? picture.alt : "";
    const photograph = item.querySelector(".context"); // of a tile
    context.hidden = !photograph;
    context.src = photograph ? photograph.src : "";
    context.alt = photograph ? photograph.alt : "";
    text.replaceChildren(...[...item.querySelectorAll("p")].map((line) => line.cloneNode(true)));
    text.append(` ${shown + 1} of ${items.length}`);
    mark.checked = item.classList.contains("marked");
  }

  document.querySelectorAll(".pictures li").forEach((item) => {
    const picture = item.querySelector("img");
    if (!picture) return;
    picture.tabIndex = 0;
    picture.setAttribute("role", "button");
    const open = () => {
      items = [...item.parentElement.children].filter((other) => !other.hidden);
      show(items.indexOf(item));
      dialog.showModal();
    };
    item.querySelectorAll("img").forEach((each) => each.addEventListener("click", open));
    picture.addEventListener("keydown", (event) => event.key === "Enter" && open());
  });
  previous.addEventListener("click", () => show(shown - 1));
  next.addEventListener("click", () => show(shown + 1));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft") show(shown - 1);
    if (key === "ArrowRight") show(shown + 1);
  });
  mark.addEventListener("change", () => {
    const { path } = items[shown].dataset;
    const section = items[shown].closest("section");
    for (const item of document.querySelectorAll(".pictures li")) {
      const same = item.dataset.path === path && item.closest("section").id.split("-")[0] === section.id.split("-")[0];
      if (same) item.classList.toggle("marked", mark.checked);
    }
    updateRelabelLists();
  });
}

function csvField(value) {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

function updateRelabelLists() {
  for (const list of document.querySelectorAll(".relabel")) {
    const prefix = list.id.split("-")[0];
    const marked = document.querySelectorAll(`[id^="${prefix}-"] .pictures .marked`);
    const lines = new Set(
      [...marked].map(({ dataset: { path, label } }) =>
        [path, label, label === "crack" ? "no crack" : "crack"].map(csvField).join(","),
      ),
    );
    const content = ["path,label,corrected_label", ...lines].join("\n") + "\n";
    list.hidden = lines.size === 0;
    list.querySelector("textarea").value = content;
    list.querySelector("a").href = `data:text/csv;charset=utf-8,${encodeURIComponent(content)}`;
  }
}

function setUpPictureFilter(controls) {
  const items = [...document.getElementById(controls.dataset.pictures).children];
  const [label, confidence, output, status] = ["select", "input", ".value", ".found"].map((selector) =>
    controls.querySelector(selector),
  );
  function show() {
    output.textContent = `${confidence.value} %`;
    for (const item of items) {
      const matches = !label.value || item.dataset.label === label.value;
      item.hidden = !matches || Number(item.dataset.confidence) < confidence.value / 100;
    }
    status.textContent = `${items.filter((item) => !item.hidden).length} of ${items.length} images shown`;
  }
  controls.hidden = false;
  label.addEventListener("change", show);
  confidence.addEventListener("input", show);
  show();
}

document.querySelectorAll("table.runs").forEach(setUpTable);
document.querySelectorAll("[data-pictures]").forEach(setUpPictureFilter);
document.querySelectorAll(".relabel button").forEach((button) => {
  const area = button.closest(".relabel").querySelector("textarea");
  button.addEventListener("click", () => {
    area.select();
    document.execCommand("copy"); // navigator.clipboard does not exist in a page from a file
  });
});
setUpViewer();
setUpTheme();
setUpPrinting();
draw().then(() => (root.dataset.drawn = "yes"));
