"use strict";
// Texts from the server are only ever set as textContent; nothing here writes HTML.

const byId = (id) => document.getElementById(id);
let key = sessionStorage.getItem("key");
let service = null;

function element(name, properties, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function say(words) { byId("status").textContent = words; }
function complain(words) {
  byId("problem").textContent = words;
  byId("problem").hidden = !words;
  if (!words) return;
  say("");
  byId("problem").scrollIntoView({ block: "nearest" });
}

// An answer, or an Error whose message says what is wrong; never waits for ever.
async function ask(address, body, type) {
  const limit = 1000 * ((service ? service.limits.timeout_s : 30) + 5);
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (type) headers["Content-Type"] = type;
  let answer;
  try {
    answer = await fetch(address, { method: body === undefined ? "GET" : "POST", body, headers, signal: AbortSignal.timeout(limit) });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? `The server did not answer within ${limit / 1000} s.` : "The server cannot be reached. Is it still running?");
  }
  let content;
  try {
    content = await answer.json();
  } catch {
    throw new Error(`The server answered with status ${answer.status} and no words.`);
  }
  if (answer.status === 401) byId("key-form").hidden = false;
  if (!answer.ok) throw new Error(content.error || `The server answered with status ${answer.status}.`);
  return content;
}
const askJson = (address, content) => ask(address, JSON.stringify(content), "application/json");
const path = (...parts) => "/" + parts.map(encodeURIComponent).join("/");

// Runs an action with its buttons disabled, and tells in words how it went.
function during(action, words) {
  return async (event) => {
    if (event) event.preventDefault();
    complain("");
    say(words);
    const buttons = [...document.querySelectorAll("button.go")];
    buttons.forEach((button) => { button.disabled = true; });
    try {
      await action();
      say("");
    } catch (error) {
      complain(error.message);
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
    }
  };
}

function fill(select, names) {
  select.replaceChildren(...names.map(([value, text]) => element("option", { value, textContent: text })));
}
function table(place, head, rows) {
  const cell = (kind, value, numeric) => element(kind, { className: numeric ? "number" : "" }, value);
  place.replaceChildren(
    element("thead", {}, element("tr", {}, ...head.map(([text, numeric]) => cell("th", text, numeric)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((value, i) => value instanceof Node ? value : cell("td", value, head[i][1]))))),
  );
}
const percent = (value) => `${(100 * value).toFixed(1)} %`;

// ---- tabs
const panels = ["spell", "see", "recall"];
const shownTabs = () => panels.filter((name) => !byId(`tab-${name}`).hidden);
function show(name) {
  for (const other of panels) {
    const chosen = other === name;
    byId(`tab-${other}`).setAttribute("aria-selected", String(chosen));
    byId(`tab-${other}`).tabIndex = chosen ? 0 : -1;
    byId(`panel-${other}`).hidden = !chosen;
  }
  complain("");
}
byId("tabs").addEventListener("click", (event) => { if (event.target.id.startsWith("tab-")) show(event.target.id.slice(4)); });
byId("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const names = shownTabs();
  const next = names[(names.indexOf(event.target.id.slice(4)) + step + names.length) % names.length];
  show(next);
  byId(`tab-${next}`).focus();
});

// ---- spell
const spellRuns = () => service.runs.filter((run) => run.panel === "spell");
function chooseSpellRun() {
  const run = spellRuns().find((one) => one.name === byId("spell-run").value);
  byId("spell-hint").textContent = (run.title ? `${run.title}. ` : "") + (run.source_unit === "symbols" ? "Write symbols with spaces between them." : "Write a text.");
  byId("spell-examples").replaceChildren(...run.examples.map((text) => element("button", { type: "button", textContent: text })));
  byId("spell-source").value = run.examples[0] || "";
}
function chooseMethod() {
  for (const one of document.querySelectorAll("[data-method]")) one.hidden = one.dataset.method !== byId("spell-method").value;
}
async function spell() {
  const method = byId("spell-method").value;
  const asked = { source: byId("spell-source").value, method };
  if (method === "beam") asked.n_best = Number(byId("spell-n").value);
  if (method === "sample") Object.assign(asked, { samples: Number(byId("spell-samples").value), top_p: Number(byId("spell-p").value), seed: Number(byId("spell-seed").value) });
  const answer = await askJson(path("v1", "spell", byId("spell-run").value, "explain"), asked);
  const prediction = answer.predictions[0];
  byId("spell-unknown").textContent = prediction.unknown.length ? `The model has never seen: ${prediction.unknown.join(" ")}` : "";
  table(byId("spell-table"), [["", true], ["text"], ["score", true], ["probability", true]], prediction.candidates.map((one, i) => [String(i + 1), one.text || "(nothing)", one.score.toFixed(3), percent(one.probability)]));
  drawAttention(prediction, answer.attention);
  byId("spell-answer").hidden = false;
}
function drawAttention(prediction, weights) {
  const place = byId("spell-attention");
  place.replaceChildren();
  byId("spell-look").textContent = weights ? "A row per symbol that was written: how much it looked at each source symbol, in percent." : "This model has no attention to show.";
  if (!weights) return;
  const rows = [...prediction.candidates[0].symbols, "end"];
  place.append(element("tr", {}, element("td", {}), ...prediction.symbols.map((symbol) => element("th", { scope: "col", textContent: symbol }))));
  weights.forEach((row, i) => {
    const cells = row.map((weight) => {
      const cell = element("td", { textContent: String(Math.round(100 * weight)) });
      cell.style.backgroundColor = `rgb(0 114 178 / ${Math.round(100 * weight)}%)`;
      if (weight > 0.5) cell.style.color = "white";
      return cell;
    });
    place.append(element("tr", {}, element("th", { scope: "row", textContent: rows[i] }), ...cells));
  });
}

// ---- see
const pen = byId("see-canvas");
const ink = pen.getContext("2d");
let drawn = false;
let at = [140, 140];
const seeRun = () => service.runs.find((one) => one.panel === "see" && one.name === byId("see-run").value);
function clearDrawing() {
  ink.fillStyle = byId("see-invert").checked ? "white" : "black";
  ink.fillRect(0, 0, pen.width, pen.height);
  drawn = false;
}
function chooseSeeRun() { byId("see-draw").hidden = seeRun().image.colour !== "grey"; clearDrawing(); }
function stroke(from, to) {
  Object.assign(ink, { lineWidth: 24, lineCap: "round", strokeStyle: byId("see-invert").checked ? "black" : "white" });
  ink.beginPath();
  ink.moveTo(...from);
  ink.lineTo(...to);
  ink.stroke();
  drawn = true;
  byId("see-file").value = "";
}
const where = (event) => { const box = pen.getBoundingClientRect(); return [(event.clientX - box.left) * pen.width / box.width, (event.clientY - box.top) * pen.height / box.height]; };
pen.addEventListener("pointerdown", (event) => { pen.setPointerCapture(event.pointerId); at = where(event); stroke(at, at); });
pen.addEventListener("pointermove", (event) => { if (event.buttons) { const next = where(event); stroke(at, next); at = next; } });
let penDown = false;
pen.addEventListener("keydown", (event) => {
  if (event.key === " ") { penDown = !penDown; if (penDown) stroke(at, at); event.preventDefault(); return; }
  const move = { ArrowUp: [0, -10], ArrowDown: [0, 10], ArrowLeft: [-10, 0], ArrowRight: [10, 0] }[event.key];
  if (!move) return;
  event.preventDefault();
  const next = at.map((value, i) => Math.min(270, Math.max(10, value + move[i])));
  if (penDown) stroke(at, next);
  at = next;
});
async function givenImage() {
  const file = byId("see-file").files[0];
  if (file) {
    if (file.size > service.limits.max_body_bytes) throw new Error(`${file.name} has ${file.size} bytes; expected at most ${service.limits.max_body_bytes}. Choose a smaller file.`);
    return file;
  }
  if (!drawn) throw new Error(byId("see-draw").hidden ? "No image is chosen. Choose a file first." : "No image is chosen. Choose a file, or draw one.");
  return new Promise((done) => pen.toBlob(done, "image/png"));
}
let shownImage = null;
async function see() {
  const image = await givenImage();
  const layer = encodeURIComponent(byId("see-layer").value.trim() || "0");
  const answer = await ask(`${path("v1", "see", seeRun().name, "explain")}?channels=32&layer=${layer}`, image, "application/octet-stream");
  if (shownImage) URL.revokeObjectURL(shownImage);
  shownImage = URL.createObjectURL(image);
  byId("see-given").src = shownImage;
  table(byId("see-table"), [["class"], ["probability", true], [""]], answer.classes.map((one) => {
    const bar = element("span", {});
    bar.style.width = `${100 * one.probability}%`;
    return [one.name, percent(one.probability), element("td", { className: "bar" }, bar)];
  }));
  byId("see-look").textContent = `${answer.layer}: ${answer.maps.length} of ${answer.channels} channels, ${answer.maps[0].length} x ${answer.maps[0][0].length}; dark is weak, light is strong.`;
  const all = answer.maps.flat(2);
  const range = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
  byId("see-maps").replaceChildren(...answer.maps.map((map, i) => {
    const canvas = element("canvas", {});
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Activations of channel ${i}`);
    paint(canvas, map.flat(), map[0].length, range);
    return canvas;
  }));
  byId("see-answer").hidden = false;
}

// ---- recall
let pattern = null;
let cue = null;
let known = null;
let shape = 1;
let recalled = null;
let playing = null;
const memoryName = () => byId("recall-memory").value;

// Grey values, light for large; what is unknown is orange, which is no shade of grey.
function paint(canvas, values, width, [low, high], known) {
  canvas.width = width;
  canvas.height = Math.ceil(values.length / width);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => {
    const grey = 255 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
    image.data.set(known && !known[i] ? [232, 185, 140, 255] : [grey, grey, grey, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
}
// A pattern's width says nothing of its shape: a square where it is one, or else the widest rectangle below two to one.
function columnsOf(count) {
  for (let rows = Math.floor(Math.sqrt(count)); rows >= Math.sqrt(count / 2); rows -= 1) if (count % rows === 0) return count / rows;
  return Math.ceil(Math.sqrt(count));
}
const rangeOf = (values) => [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
async function chooseMemory() {
  const list = await ask(`${path("v1", "memories", memoryName(), "patterns")}?limit=200`);
  fill(byId("recall-pattern"), list.patterns.map((one) => [one.id, one.label === null ? `pattern ${one.id}` : `${one.label} (pattern ${one.id})`]));
  await choosePattern();
}
async function choosePattern() {
  const found = await ask(path("v1", "memories", memoryName(), "patterns", byId("recall-pattern").value));
  pattern = found.pattern;
  shape = columnsOf(pattern.length);
  paint(byId("recall-stored"), pattern, shape, rangeOf(pattern));
  damage();
}
function normal() { return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()); }
function damage() {
  stop();
  byId("recall-answer").hidden = true;
  const strength = Number(byId("recall-noise").value);
  byId("recall-noise-value").textContent = strength.toFixed(1);
  const mean = pattern.reduce((a, b) => a + b, 0) / pattern.length;
  const spread = Math.sqrt(pattern.reduce((a, b) => a + (b - mean) ** 2, 0) / pattern.length) || 1;
  cue = pattern.map((value) => value + strength * spread * normal());
  const half = pattern.length / 2;
  const rule = { none: null, lower: (i) => i < half, upper: (i) => i >= half, random: () => Math.random() < 0.5 }[byId("recall-hide").value];
  known = rule && pattern.map((_, i) => rule(i));
  paint(byId("recall-cue"), cue, shape, rangeOf(pattern), known);
}
async function recall() {
  const asked = { cues: [cue], trace: true };
  if (known) asked.known = [known];
  recalled = (await askJson(path("v1", "memories", memoryName(), "retrieve"), asked)).recalls[0];
  byId("recall-answer").hidden = false;
  const last = recalled.trace.states.length - 1;
  byId("recall-step").max = last;
  const right = String(recalled.id) === byId("recall-pattern").value;
  const name = recalled.label === null ? `pattern ${recalled.id}` : `${recalled.label} (pattern ${recalled.id})`;
  byId("recall-words").textContent = `Came to ${name}, ${right ? "the one it was made from" : "another than it was made from"}, in ${last} ${last === 1 ? "update" : "updates"}; energy from ${recalled.trace.energies[0].toFixed(3)} to ${recalled.trace.energies[last].toFixed(3)}.`;
  play();
}
function showStep(step) {
  byId("recall-step").value = step;
  const first = step === 0;
  paint(byId("recall-state"), first ? cue : recalled.trace.states[step], shape, rangeOf(pattern), first ? known : null);
  byId("recall-caption").textContent = first ? "the cue" : `after ${step} of ${recalled.trace.states.length - 1} updates`;
  drawEnergy(step);
}
function drawEnergy(step) {
  const energies = recalled.trace.energies;
  const [low, high] = rangeOf(energies);
  const x = (i) => 60 + (225 * i) / Math.max(1, energies.length - 1);
  const y = (value) => 135 - (110 * (value - low)) / (high - low || 1);
  const make = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [one, value] of Object.entries(attributes)) made.setAttribute(one, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  byId("recall-energy").replaceChildren(
    make("polyline", { points: energies.map((value, i) => `${x(i)},${y(value)}`).join(" "), fill: "none", stroke: "currentColor", "stroke-width": 2 }),
    ...energies.map((value, i) => make("circle", { cx: x(i), cy: y(value), r: i === step ? 6 : 3, fill: i === step ? "#D55E00" : "currentColor" })),
    make("text", { x: 4, y: y(high) + 4 }, high.toFixed(3)),
    ...(high - low > 1e-6 ? [make("text", { x: 4, y: y(low) + 4 }, low.toFixed(3))] : []),
    make("text", { x: 140, y: 162 }, "updates"),
  );
}
function stop() { clearInterval(playing); playing = null; byId("recall-play").textContent = "Play"; }
function play() {
  stop();
  const last = recalled.trace.states.length - 1;
  let step = 0;
  showStep(0);
  byId("recall-play").textContent = "Stop";
  playing = setInterval(() => { if (step >= last) { stop(); return; } step += 1; showStep(step); }, 600);
}

// ---- start
async function start() {
  service = await ask("/v1/service");
  byId("key-form").hidden = true;
  const sees = service.runs.filter((run) => run.panel === "see");
  byId("tab-spell").hidden = !spellRuns().length;
  byId("tab-see").hidden = !sees.length;
  byId("tab-recall").hidden = !service.memories.length;
  if (spellRuns().length) { fill(byId("spell-run"), spellRuns().map((run) => [run.name, run.name])); chooseSpellRun(); chooseMethod(); }
  if (sees.length) { fill(byId("see-run"), sees.map((run) => [run.name, run.name])); chooseSeeRun(); }
  if (service.memories.length) { fill(byId("recall-memory"), service.memories.map((one) => [one.name, `${one.name}, ${one.patterns} patterns`])); await chooseMemory(); }
  show(shownTabs()[0]);
}
byId("key-form").addEventListener("submit", (event) => { key = byId("key").value; sessionStorage.setItem("key", key); during(start, "Asking the server what it serves…")(event); });
byId("spell-form").addEventListener("submit", during(spell, "Predicting…"));
byId("spell-run").addEventListener("change", chooseSpellRun);
byId("spell-method").addEventListener("change", chooseMethod);
byId("spell-examples").addEventListener("click", (event) => { if (event.target.type === "button") { byId("spell-source").value = event.target.textContent; byId("spell-form").requestSubmit(); } });
byId("see-form").addEventListener("submit", during(see, "Looking…"));
byId("see-run").addEventListener("change", chooseSeeRun);
byId("see-again").addEventListener("click", during(see, "Looking…"));
byId("see-clear").addEventListener("click", clearDrawing);
byId("see-invert").addEventListener("change", clearDrawing);
byId("recall-form").addEventListener("submit", during(recall, "Recalling…"));
byId("recall-memory").addEventListener("change", during(chooseMemory, "Asking for patterns…"));
byId("recall-pattern").addEventListener("change", during(choosePattern, "Asking for the pattern…"));
for (const id of ["recall-hide", "recall-noise"]) byId(id).addEventListener("input", damage);
byId("recall-redraw").addEventListener("click", damage);
byId("recall-step").addEventListener("input", (event) => { stop(); showStep(Number(event.target.value)); });
byId("recall-play").addEventListener("click", () => { if (playing) stop(); else play(); });
during(start, "Asking the server what it serves…")();
