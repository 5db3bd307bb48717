"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

// Theme: the system's, until the button is used.
const root = document.documentElement;
const themeButton = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;
const isDark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

// Colours as the style sheet has them: a part of white on a dark ground, where black would vanish.
function shade(colour) {
  if (Array.isArray(colour)) return colour.map(shade);
  const part = (start) => parseInt(colour.slice(start, start + 2), 16);
  const mixed = [1, 3, 5].map(part).map((value) => (isDark() ? Math.round(value + 0.45 * (255 - value)) : value));
  return `rgb(${mixed})`;
}

function painted(trace, ink) {
  const result = { ...trace };
  if (trace.line) result.line = { ...trace.line, color: shade(trace.line.color) };
  if (trace.marker) result.marker = { ...trace.marker, color: shade(trace.marker.color) };
  if (trace.fill) result.fillcolor = shade(trace.line.color).replace("rgb(", "rgba(").replace(")", ",0.28)");
  if (trace.error_x) result.error_x = { ...trace.error_x, color: ink };
  return result;
}

function themed(layout, plot) {
  const style = getComputedStyle(plot);
  const axis = { gridcolor: style.borderTopColor, linecolor: style.borderTopColor, tickfont: { size: 12 } };
  return {
    ...layout, ...(printing && { width: 640 }), // as wide as a printed page
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style.color, family: getComputedStyle(document.body).fontFamily, size: 12 },
    xaxis: { ...layout.xaxis, ...axis },
    yaxis: { ...layout.yaxis, ...axis },
    hoverlabel: { bgcolor: isDark() ? "#2a2f38" : "#ffffff", font: { color: style.color }, bordercolor: style.borderTopColor, align: "left" },
    // A finger that scrolls the page must not zoom the chart.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
  };
}

const distributions = document.querySelector("#distributions > details");

// Plotly is there once it is unpacked; a chart in a folded section has no size.
function drawCharts() {
  if (!window.Plotly || !distributions?.open) return;
  for (const [id, chart] of Object.entries(data.charts)) {
    const plot = document.getElementById(id);
    const buttons = ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"];
    if (plot.layout?.width) Plotly.purge(plot); // a width that was set would stay
    const traces = chart.data.map((trace) => painted(trace, getComputedStyle(plot).color));
    Plotly.react(plot, traces, themed(chart.layout, plot), {
      responsive: true, displaylogo: false, modeBarButtonsToRemove: buttons, typesetMath: false, // a $ is a $
    });
  }
}

function showTheme() {
  themeButton.textContent = isDark() ? "Light theme" : "Dark theme";
  drawCharts();
}

themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
});
systemDark.addEventListener("change", showTheme);

// Copying; where the browser allows none, the command is selected.
for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
    }
  });
}

// Sorting: a heading's button sorts by its column, again the other way round; cells without a value stay last.
function sortBy(table, column) {
  const heading = table.tHead.rows[0].cells[column];
  const down = heading.getAttribute("aria-sort") === "ascending";
  const value = (row) => row.cells[column].dataset.value;
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
  const rows = [...table.tBodies[0].rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return down ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...rows);
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button").addEventListener("click", () => sortBy(table, column));
  });
}

// Gallery, where there is one: one augmentation at a time; its pictures are decoded when they are first shown.
const filter = document.getElementById("filter");

const groups = document.querySelectorAll(".group");

function showGroups(all) {
  let cards = 0;
  for (const group of groups) {
    const shown = all === true || filter.value === "all" || group.dataset.augmentation === filter.value;
    group.hidden = shown ? false : "until-found";
    if (!shown) continue;
    cards += group.querySelectorAll(".card").length;
    for (const image of group.querySelectorAll("img[data-picture]:not([src])")) image.src = data.pictures[image.dataset.picture];
  }
  document.getElementById("shown").textContent = `${cards} of ${document.querySelectorAll(".card").length} shown`;
}

if (filter) {
  filter.addEventListener("change", showGroups);
  for (const group of groups) {
    group.addEventListener("beforematch", () => {
      filter.value = group.dataset.augmentation;
      showGroups();
    });
  }
  showGroups();
}

// Sections are folded. The address, the contents, the browser's search and its printer open them.
function unfold(hash) {
  const target = hash.length > 1 && document.getElementById(hash.slice(1));
  if (!target) return;
  for (let box = target.querySelector(":scope > details") ?? target; box; box = box.parentElement) {
    if (box.tagName === "DETAILS") box.open = true;
  }
}

function showAddress() {
  unfold(location.hash);
  if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

addEventListener("hashchange", showAddress);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) unfold(link.hash);
  const summary = event.target.closest(".fold > summary");
  if (!summary) return;
  const address = summary.parentElement.open ? "" : summary.closest("section").id; // it opens after the click
  history.replaceState(null, "", `#${address}`);
});
distributions?.addEventListener("toggle", drawCharts);

let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  for (const box of unfolded) box.open = true;
  if (filter) showGroups(true);
  printing = true;
  drawCharts();
});
addEventListener("afterprint", () => {
  printing = false;
  drawCharts();
  for (const box of unfolded) box.open = false;
  if (filter) showGroups();
});

// Figures and Plotly are packed, which makes the page a third as large.
async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

async function unpackAll() {
  for (const image of document.querySelectorAll("img[data-packed]")) {
    const drawing = await unpack(image.dataset.packed.split(",")[1]);
    image.src = URL.createObjectURL(new Blob([drawing], { type: "image/svg+xml" }));
    image.removeAttribute("data-packed");
  }
  if (!distributions) return;
  const script = document.createElement("script");
  script.textContent = await unpack(document.getElementById("plotly").textContent);
  document.head.append(script);
  drawCharts();
}

showTheme();
showAddress();
unpackAll();
