const {charts, marks} = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const drawn = new Map();  // name of a chart -> promise of its view
const all = selector => document.querySelectorAll(selector);

// In every table and on every button a variant has the mark that it has in the charts.
for (const place of all("td.variant, nav button")) {
  const glyph = document.createElement("span"), mark = marks[place.textContent];
  glyph.className = "glyph";
  glyph.textContent = mark.glyph;
  glyph.style.color = mark.colour;
  place.prepend(glyph);
}

// Tables: a click on the head of a column sorts up, down, and as it was.

for (const table of all("table")) makeSortable(table);

function makeSortable(table) {
  const body = table.tBodies[0], groups = [];
  for (const row of body.rows) {
    // A row that says more of the one above stays with it.
    if (row.classList.contains("more")) groups.at(-1).push(row); else groups.push([row]);
  }
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.onclick = () => {
      const order = {none: "ascending", ascending: "descending", descending: "none"}[head.getAttribute("aria-sort")];
      table.querySelectorAll("th").forEach(other => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      body.append(...(order === "none" ? groups : sorted(groups, column, order === "ascending" ? 1 : -1)).flat());
    };
  });
}

function sorted(groups, column, sign) {
  const keys = new Map(groups.map(group => [group, key(group[0].cells[column])]));
  const numbers = [...keys.values()].some(value => typeof value === "number");
  const missing = value => numbers ? typeof value !== "number" : value === "";
  return [...groups].sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    // What is not known comes last, either way.
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return sign * (numbers ? a - b : a.localeCompare(b, undefined, {numeric: true}));
  });
}

function key(cell) {
  if (cell === undefined || cell.colSpan > 1) return "";
  return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
}

// From a score to its runs, from a run to its curve.

const filter = document.querySelector(".filter");

function showRuns(of) {
  for (const row of all("#runs tbody tr")) row.hidden = of !== "" && row.dataset.of !== of;
  filter.hidden = of === "";
}

if (filter) {
  for (const link of all("a.runs")) {
    link.addEventListener("click", () => {
      filter.firstElementChild.textContent = link.dataset.title;
      showRuns(link.hash.slice(1));
    });
  }
  filter.querySelector("button").onclick = () => showRuns("");
}

for (const link of all("a[data-run]")) {
  link.onclick = event => {
    event.preventDefault();
    const name = link.hash.slice(1), [seed, variant] = link.dataset.run.split(/ (.*)/s);
    showRun(name, link.dataset.run, `Shown: seed ${seed} of ${variant}. Show all`);
    document.getElementById(name).closest("figure").scrollIntoView({block: "center"});
  };
}

async function showRun(name, run, text) {
  const caption = document.getElementById(name).closest("figure").querySelector("figcaption");
  caption.querySelector(".shown")?.remove();
  if (run) {
    const button = document.createElement("button");
    Object.assign(button, {type: "button", className: "shown", textContent: text, onclick: () => showRun(name, "")});
    caption.append(button);
  }
  (await draw(name)).view.signal("run", run).runAsync();
}

// Charts: each is drawn when it comes near, so that a page of many is there at once.

function config() {
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const soft = colour("--soft"), line = colour("--line");
  return {
    background: "transparent", view: {stroke: null},
    font: getComputedStyle(document.body).fontFamily,
    axis: {labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
           labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8},
    legend: {labelColor: soft, titleColor: soft},
  };
}

// Vega is a megabyte of script, which runs when the first chart is drawn and not before the tables are there.
function embed(...given) {
  if (!window.vegaEmbed) {
    const script = document.createElement("script");
    script.textContent = document.getElementById("vega").textContent;
    document.head.append(script);
  }
  return window.vegaEmbed(...given);
}

function draw(name) {
  if (!drawn.has(name)) {
    drawn.set(name, embed(document.getElementById(name), charts[name], {
      mode: "vega-lite", renderer: "svg", config: config(), tooltip: {theme: dark.matches ? "dark" : "light"},
      actions: {export: true, source: false, compiled: false, editor: false},
    }).then(result => { highlight(result, pressed()); return result; }));
  }
  return drawn.get(name);
}

const near = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target.id);
}, {rootMargin: "400px"});
// The tables first: they are there when the first chart is begun.
requestAnimationFrame(() => setTimeout(() => {
  performance.mark("tables drawn");
  Object.keys(charts).forEach(name => near.observe(document.getElementById(name)));
}));
addEventListener("beforeprint", () => Object.keys(charts).forEach(draw));

dark.onchange = async () => {
  const names = [...drawn.keys()];
  for (const view of await Promise.all(drawn.values())) view.finalize();
  drawn.clear();
  names.forEach(draw);
};

// The variants: pointed at, one stands out in every chart; clicked, it stays.

function pressed() {
  const button = document.querySelector("nav button[aria-pressed=true]");
  return button ? button.dataset.variant : "";
}

function highlight(result, variant) { result.view.signal("highlight", variant).runAsync(); }

for (const button of all("nav button")) {
  const show = variant => drawn.forEach(promise => promise.then(result => highlight(result, variant)));
  button.onmouseenter = () => show(button.dataset.variant);
  button.onmouseleave = () => show(pressed());
  button.onclick = () => {
    const press = button.getAttribute("aria-pressed") === "false";
    all("nav button").forEach(other => other.setAttribute("aria-pressed", "false"));
    button.setAttribute("aria-pressed", String(press));
    show(pressed());
  };
}
