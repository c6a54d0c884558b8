const {charts, marks} = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
let views = [];

for (const glyph of document.querySelectorAll(".glyph")) {
  glyph.textContent = marks[glyph.dataset.variant].glyph;
  glyph.style.color = marks[glyph.dataset.variant].colour;
}

function config() {
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const soft = colour("--soft"), line = colour("--line");
  return {
    background: "transparent", view: {stroke: null},
    font: getComputedStyle(document.body).fontFamily,
    axis: {labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
           labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8},
  };
}

async function draw() {
  views.forEach(result => result.finalize());
  views = await Promise.all(Object.entries(charts).map(([name, spec]) => vegaEmbed("#" + name, spec, {
    mode: "vega-lite", renderer: "svg", config: config(), tooltip: {theme: dark.matches ? "dark" : "light"},
    actions: {export: true, source: false, compiled: false, editor: false},
  })));
  views.forEach(result => highlight(result, pressed()));
}

function pressed() {
  const button = document.querySelector("nav button[aria-pressed=true]");
  return button ? button.dataset.variant : "";
}

function highlight(result, variant) { result.view.signal("highlight", variant).runAsync(); }

for (const button of document.querySelectorAll("nav button")) {
  const show = variant => views.forEach(result => highlight(result, variant));
  button.onmouseenter = () => show(button.dataset.variant);
  button.onmouseleave = () => show(pressed());
  button.onclick = () => {
    const press = button.getAttribute("aria-pressed") === "false";
    document.querySelectorAll("nav button").forEach(other => other.setAttribute("aria-pressed", "false"));
    button.setAttribute("aria-pressed", String(press));
    show(pressed());
  };
}

dark.onchange = draw;
draw();
