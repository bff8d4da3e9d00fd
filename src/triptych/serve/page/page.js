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

function showStatus(text) { byId("status").textContent = text; }
function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
  if (!text) return;
  showStatus("");
  byId("problem").scrollIntoView({ block: "nearest" });
}

// The content of an answer, or an Error with a message for the person; never waits for ever.
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
    throw new Error(`The server answered with status ${answer.status}.`);
  }
  if (answer.status === 401) {
    byId("key-form").hidden = false;
    throw new Error(key ? "The API key is wrong." : "This server requires an API key.");
  }
  if (!answer.ok) throw new Error(content.error || `The server answered with status ${answer.status}.`);
  return content;
}
const askJson = (address, content) => ask(address, JSON.stringify(content), "application/json");
const path = (...parts) => parts.map(encodeURIComponent).join("/"); // relative: a proxy may serve the page under any path

// Runs an action with its buttons disabled and the old answer hidden, and shows its problem if it has one.
function during(action, text, answer) {
  return async (event) => {
    if (event) event.preventDefault();
    showProblem("");
    showStatus(text);
    if (answer) byId(answer).hidden = true;
    const buttons = [...document.querySelectorAll("button.go")];
    buttons.forEach((button) => { button.disabled = true; });
    try {
      await action();
      showStatus("");
    } catch (error) {
      showProblem(error.message);
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
  showProblem("");
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
  byId("spell-hint").textContent = (run.title ? `${run.title}. ` : "") + (run.source_unit === "symbols" ? "Enter symbols with spaces between them." : "Enter a text.");
  byId("spell-features-row").hidden = !run.features;
  byId("text-form").hidden = !run.running_text;
  byId("text-answer").hidden = byId("spell-answer").hidden = true;
  byId("spell-language-row").hidden = !run.languages.length;
  byId("spell-language").replaceChildren(...run.languages.map((name) => element("option", { value: name, textContent: name })));
  const example = (i) => [run.examples[i] || "", (run.features && run.example_features[i]) || "", (run.languages.length && run.example_languages[i]) || ""];
  byId("spell-examples").replaceChildren(...run.examples.map((text, i) => {
    const beside = example(i).slice(1).filter((part) => part).join(" ");
    return element("button", { type: "button", textContent: beside ? `${text} [${beside}]` : text, onclick: () => { fillSpell(example(i)); byId("spell-form").requestSubmit(); } });
  }));
  fillSpell(example(0));
}
function fillSpell([source, features, language]) {
  byId("spell-source").value = source;
  byId("spell-features").value = features;
  if (language) byId("spell-language").value = language;
}
function chooseMethod() {
  for (const one of document.querySelectorAll("[data-method]")) {
    one.hidden = one.dataset.method !== byId("spell-method").value;
    one.querySelector("input").disabled = one.hidden; // or its value would be checked unseen
  }
}
// Candidates as rows of text, score, probability and times; samples are counted, and the most probable come first.
function rowsOf(candidates, counted) {
  const rows = new Map();
  for (const one of candidates) {
    const key = JSON.stringify(one.symbols);
    if (!counted || !rows.has(key)) rows.set(counted ? key : rows.size, { ...one, times: 0 });
    if (counted) rows.get(key).times += 1;
  }
  const all = [...rows.values()];
  return counted ? all.sort((a, b) => b.probability - a.probability) : all;
}
const language = () => byId("spell-language-row").hidden ? {} : { language: byId("spell-language").value };
async function rewriteText() {
  const asked = { text: byId("text-source").value, ...language() };
  if (!byId("spell-features-row").hidden) asked.features = [byId("spell-features").value];
  const answer = await askJson(path("v1", "spell", byId("spell-run").value, "predict"), asked);
  byId("text-prediction").textContent = answer.text.prediction;
  byId("text-answer").hidden = false;
}
async function spell() {
  const method = byId("spell-method").value;
  const asked = { source: byId("spell-source").value, method, ...language() };
  if (!byId("spell-features-row").hidden) asked.features = byId("spell-features").value;
  if (method === "beam") asked.n_best = Number(byId("spell-n").value);
  if (method === "sample") Object.assign(asked, { samples: Number(byId("spell-samples").value), top_p: Number(byId("spell-p").value), seed: Number(byId("spell-seed").value) });
  const answer = await askJson(path("v1", "spell", byId("spell-run").value, "explain"), asked);
  const prediction = answer.predictions[0];
  const counted = method === "sample";
  byId("spell-unknown").textContent = [["Symbols", prediction.unknown], ["Features", prediction.unknown_features]].map(([what, names]) => names.length ? `${what} that did not occur in training: ${names.map(visible).join(" ")} ` : "").join("");
  table(byId("spell-table"), [["", true], ["text"], [counted ? "times drawn" : "score", true], ["probability", true]], rowsOf(prediction.candidates, counted).map((one, i) => [String(i + 1), one.text || "(empty)", counted ? String(one.times) : one.score.toFixed(3), percent(one.probability)]));
  drawAttention(prediction, answer.attention);
  byId("spell-answer").hidden = false;
}
// A combining mark alone is shown on a dotted circle, as figures do.
function visible(symbol) {
  return /^\p{M}/u.test(symbol) ? `◌${symbol}` : symbol;
}
function drawAttention(prediction, weights) {
  const place = byId("spell-attention");
  place.replaceChildren();
  byId("spell-attention-hint").textContent = weights ? `Rows: symbols of “${prediction.candidates[0].text || "(empty)"}”. Columns: source symbols. Cells: attention weights in percent.` : "This model has no attention.";
  if (!weights) return;
  const rows = [...prediction.candidates[0].symbols, "end"];
  place.append(element("tr", {}, element("td", {}), ...prediction.symbols.map((symbol) => element("th", { scope: "col", textContent: visible(symbol) }))));
  weights.forEach((row, i) => {
    const cells = row.map((weight) => {
      const cell = element("td", { textContent: String(Math.round(100 * weight)) });
      cell.style.backgroundColor = `rgb(0 114 178 / ${Math.round(100 * weight)}%)`;
      if (weight > 0.5) cell.style.color = "white";
      return cell;
    });
    place.append(element("tr", {}, element("th", { scope: "row", textContent: visible(rows[i] ?? "") }), ...cells));
  });
}

// ---- see
const pen = byId("see-canvas");
const ink = pen.getContext("2d", { willReadFrequently: true });
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
const cursor = byId("see-pen"); // where the keyboard's pen is
function showPen() {
  cursor.hidden = document.activeElement !== pen;
  cursor.style.left = `${100 * at[0] / pen.width}%`;
  cursor.style.top = `${100 * at[1] / pen.height}%`;
  cursor.classList.toggle("down", penDown);
}
let penDown = false;
for (const name of ["focus", "blur", "keyup", "pointerup"]) pen.addEventListener(name, showPen);
pen.addEventListener("pointerdown", (event) => { pen.setPointerCapture(event.pointerId); at = where(event); stroke(at, at); });
pen.addEventListener("pointermove", (event) => { if (event.buttons) { const next = where(event); stroke(at, next); at = next; } });
pen.addEventListener("keydown", (event) => {
  if (event.key === " ") { penDown = !penDown; if (penDown) stroke(at, at); event.preventDefault(); showPen(); return; }
  const move = { ArrowUp: [0, -10], ArrowDown: [0, 10], ArrowLeft: [-10, 0], ArrowRight: [10, 0] }[event.key];
  if (!move) return;
  event.preventDefault();
  const next = at.map((value, i) => Math.min(270, Math.max(10, value + move[i])));
  if (penDown) stroke(at, next);
  at = next;
  showPen();
});
// The drawing as an image of the canvas's size; cropped, it fills the image but for a margin of a tenth on each side.
function drawnImage() {
  const size = pen.width;
  const pixels = ink.getImageData(0, 0, size, size).data;
  const paper = byId("see-invert").checked ? 255 : 0;
  let [left, top, right, bottom] = [size, size, -1, -1];
  for (let i = 0; i < size * size; i += 1) {
    if (Math.abs(pixels[4 * i] - paper) < 64) continue;
    left = Math.min(left, i % size); right = Math.max(right, i % size);
    top = Math.min(top, Math.floor(i / size)); bottom = Math.max(bottom, Math.floor(i / size));
  }
  const image = element("canvas", { width: size, height: size });
  const context = image.getContext("2d");
  context.fillStyle = paper ? "white" : "black";
  context.fillRect(0, 0, size, size);
  const side = byId("see-crop").checked && right >= 0 ? 1.25 * Math.max(right - left + 1, bottom - top + 1) : size;
  const corner = side === size ? [0, 0] : [(left + right + 1 - side) / 2, (top + bottom + 1 - side) / 2];
  context.imageSmoothingQuality = "high";
  context.drawImage(pen, -corner[0] * size / side, -corner[1] * size / side, size * size / side, size * size / side);
  return new Promise((done) => image.toBlob(done, "image/png"));
}
async function givenImage() {
  const file = byId("see-file").files[0];
  if (file) {
    if (file.size > service.limits.max_body_bytes) throw new Error(`${file.name} has ${file.size} bytes; expected at most ${service.limits.max_body_bytes}. Choose a smaller file.`);
    return file;
  }
  if (!drawn) throw new Error(byId("see-draw").hidden ? "No image is chosen. Choose a file first." : "No image is chosen. Choose a file, or draw one.");
  return drawnImage();
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
  byId("see-evidence-hint").textContent = `For ${answer.explained_class}: light pixels speak for the class.`;
  byId("see-evidence").replaceChildren(...[["Grad-CAM", answer.grad_cam], ["integrated gradients", answer.integrated_gradients]].map(([name, map]) => element("figure", {}, mapCanvas(map, rangeOf(map.flat()), `Evidence by ${name}`), element("figcaption", { textContent: name }))));
  byId("see-maps-hint").textContent = `${answer.layer}: ${answer.maps.length} of ${answer.channels} channels, ${answer.maps[0].length} x ${answer.maps[0][0].length}; dark is weak, light is strong.`;
  const range = rangeOf(answer.maps.flat(2));
  byId("see-maps").replaceChildren(...answer.maps.map((map, i) => mapCanvas(map, range, `Activations of channel ${i}`)));
  byId("see-answer").hidden = false;
}

function mapCanvas(map, range, label) {
  const canvas = element("canvas", {});
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  paint(canvas, map.flat(), { columns: map[0].length, colour: "grey" }, range);
  return canvas;
}

// ---- recall
let pattern = null;
let cue = null;
let known = null;
let nearest = null; // the pattern that was retrieved without a trace
let recalled = null;
let playing = null;
const STEPS = 20; // updates at most
const memoryName = () => byId("recall-memory").value;
const memory = () => service.memories.find((one) => one.name === memoryName());
const shape = () => ({ columns: Math.max(1, Math.floor(Number(byId("recall-columns").value)) || 1), colour: byId("recall-colour").value });

// Light is large; numbers that are unknown are orange in a grey image, and black in one of colours.
function paint(canvas, values, { columns, colour }, [low, high], known) {
  const depth = colour === "rgb" ? 3 : 1;
  canvas.width = columns;
  canvas.height = Math.ceil(values.length / depth / columns);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const level = (i) => 255 * Math.min(1, Math.max(0, ((values[i] ?? low) - low) / (high - low || 1)));
  for (let i = 0; i * depth < values.length; i += 1) {
    const numbers = depth === 3 ? [0, 1, 2].map((one) => 3 * i + one) : [i, i, i];
    const seen = numbers.map((one) => !known || known[one]);
    const [red, green, blue] = numbers.map((one, place) => (seen[place] ? level(one) : 0));
    image.data.set(depth === 1 && !seen[0] ? [232, 185, 140, 255] : [red, green, blue, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}
// Without a known size: a square where the count allows one, or else the widest rectangle below two to one.
function columnsOf(count) {
  for (let rows = Math.floor(Math.sqrt(count)); rows >= Math.sqrt(count / 2); rows -= 1) if (count % rows === 0) return count / rows;
  return Math.ceil(Math.sqrt(count));
}
const rangeOf = (values) => [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
const nameOf = (one) => (one.label === null ? `pattern ${one.id}` : `${one.label} (pattern ${one.id})`);
async function chooseMemory() {
  const list = await ask(`${path("v1", "memories", memoryName(), "patterns")}?limit=200`);
  fill(byId("recall-pattern"), list.patterns.map((one) => [one.id, nameOf(one)]));
  byId("recall-listed").textContent = list.total > list.patterns.length ? `The list has the first ${list.patterns.length} of ${list.total} patterns; cues are compared with all of them.` : "";
  const image = memory().image;
  byId("recall-colour").value = image && image.channels === 3 ? "rgb" : "grey";
  byId("recall-columns").value = image ? image.width : columnsOf(memory().width);
  await choosePattern();
}
async function choosePattern() {
  pattern = (await ask(path("v1", "memories", memoryName(), "patterns", byId("recall-pattern").value))).pattern;
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
  const depth = shape().colour === "rgb" ? 3 : 1; // the numbers of a pixel are hidden together
  const coins = pattern.map(() => Math.random() < 0.5);
  const rule = { none: null, lower: (i) => i < half, upper: (i) => i >= half, random: (i) => coins[Math.floor(i / depth)] }[byId("recall-hide").value];
  known = rule && pattern.map((_, i) => rule(i));
  paintCue();
}
function paintCue() {
  paint(byId("recall-stored"), pattern, shape(), rangeOf(pattern));
  paint(byId("recall-cue"), cue, shape(), rangeOf(pattern), known);
}
function reshape() {
  if (shape().colour === "rgb" && pattern.length % 3) { byId("recall-colour").value = "grey"; showProblem(`A pattern has ${pattern.length} numbers, which are not whole RGB pixels.`); }
  paintCue();
  if (!byId("recall-answer").hidden) showStep(Number(byId("recall-step").value));
}
async function recall() {
  const traced = (STEPS + 1) * pattern.length <= service.limits.max_trace_numbers;
  const asked = { cues: [cue], max_steps: STEPS, trace: traced };
  if (known) asked.known = [known];
  recalled = (await askJson(path("v1", "memories", memoryName(), "retrieve"), asked)).recalls[0];
  if (!traced) nearest = (await ask(path("v1", "memories", memoryName(), "patterns", recalled.id))).pattern;
  const right = String(recalled.id) === byId("recall-pattern").value;
  const energies = traced ? recalled.trace.energies : [];
  const energy = traced ? `energy from ${energies[0].toFixed(3)} to ${energies.at(-1).toFixed(3)}` : `energy ${recalled.energy.toFixed(3)}. The patterns are too wide to show the states on the way (the server's limit max_trace_numbers)`;
  byId("recall-words").textContent = `Retrieved ${nameOf(recalled)}, ${right ? "the pattern of the cue" : "which is not the pattern of the cue"}, in ${recalled.steps} ${recalled.steps === 1 ? "update" : "updates"}; ${energy}.`;
  for (const id of ["recall-chart", "recall-steps"]) byId(id).hidden = !traced;
  byId("recall-step").max = Math.max(0, energies.length - 1);
  byId("recall-answer").hidden = false;
  if (traced) play(); else showStep(0);
}
function showStep(step) {
  byId("recall-step").value = step;
  if (!recalled.trace) {
    paint(byId("recall-state"), nearest, shape(), rangeOf(pattern));
    byId("recall-caption").textContent = "the retrieved pattern";
    return;
  }
  const first = step === 0;
  paint(byId("recall-state"), first ? cue : recalled.trace.states[step], shape(), rangeOf(pattern), first ? known : null);
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
  service = await ask("v1/service");
  byId("spell-n").max = service.limits.max_n_best;
  byId("spell-samples").max = service.limits.max_samples;
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
byId("key-form").addEventListener("submit", (event) => { key = byId("key").value; sessionStorage.setItem("key", key); during(start, "Loading…")(event); });
byId("spell-form").addEventListener("submit", during(spell, "Predicting…", "spell-answer"));
byId("text-form").addEventListener("submit", during(rewriteText, "Predicting…", "text-answer"));
byId("spell-run").addEventListener("change", chooseSpellRun);
byId("spell-method").addEventListener("change", chooseMethod);
byId("see-form").addEventListener("submit", during(see, "Classifying…", "see-answer"));
byId("see-run").addEventListener("change", chooseSeeRun);
byId("see-again").addEventListener("click", during(see, "Computing activations…"));
byId("see-clear").addEventListener("click", clearDrawing);
byId("see-invert").addEventListener("change", clearDrawing);
byId("recall-form").addEventListener("submit", during(recall, "Retrieving…", "recall-answer"));
byId("recall-memory").addEventListener("change", during(chooseMemory, "Loading patterns…", "recall-answer"));
byId("recall-pattern").addEventListener("change", during(choosePattern, "Loading the pattern…", "recall-answer"));
for (const id of ["recall-hide", "recall-noise"]) byId(id).addEventListener("input", damage);
byId("recall-redraw").addEventListener("click", damage);
for (const id of ["recall-columns", "recall-colour"]) byId(id).addEventListener("input", reshape);
byId("recall-step").addEventListener("input", (event) => { stop(); showStep(Number(event.target.value)); });
byId("recall-play").addEventListener("click", () => { if (playing) stop(); else play(); });
during(start, "Loading…")();
