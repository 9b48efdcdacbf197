"use strict";
(() => {
  const {
    make, signed, pixelsOf, lightOf, stopsOf, limitsOf, shade, outlineClipped, makeDivider, showDivider, pixelUnder,
  } = hdrViewer;
  const byId = (id) => document.getElementById(id);
  const report = JSON.parse(byId("report").textContent);
  const images = [...document.querySelectorAll("script.image")].map((block) => JSON.parse(block.textContent));
  const PALETTE = ["#4a86d8", "#e8862a", "#3fa65a", "#d9534f", "#2fa8a8", "#a673c4", "#d3709d", "#9c7a5b", "#b8a11f"];
  const colourOf = (index) => PALETTE[index % PALETTE.length];
  const methodOf = new Map(report.methods.map((method, index) => [method.name, { ...method, index }]));
  for (const spot of document.querySelectorAll("[data-method]"))
    spot.closest("tr").style.setProperty("--swatch", colourOf(Number(spot.dataset.method)));

  // Names of files are long words: they may break after the marks that people put between their parts.
  function breakable(text) {
    const span = make("span");
    text.split(/(?<=[_\-.])/).forEach((part, k) => span.append(...(k ? [make("wbr")] : []), part));
    return span;
  }

  const scoreText = (value, digits) => {
    if (value === undefined || Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    return value.toFixed(digits).replace("-", "−");
  };

  // ------------------------------------------------------------------------------------------ tables

  const scores = byId("score-table");
  const COLUMNS_ON_PAPER = 7;

  function showRegion(region) {
    for (const cell of scores.querySelectorAll("[data-region]")) cell.hidden = cell.dataset.region !== region;
    for (const button of document.querySelectorAll("#regions button"))
      button.setAttribute("aria-pressed", String(button.dataset.region === region));
  }

  // Paper is narrower than a screen: a table a region, of no more columns than fit.
  addEventListener("beforeprint", () => {
    const heads = [...scores.tHead.rows[0].cells];
    const parts = new Map();
    heads.forEach((head, column) => {
      if (column) parts.set(head.dataset.region, [...(parts.get(head.dataset.region) ?? []), column]);
    });
    const tables = [];
    for (const [region, columns] of parts) {
      const title = document.querySelector(`#regions [data-region="${region}"]`)?.textContent ?? "";
      const number = Math.ceil(columns.length / COLUMNS_ON_PAPER);
      const each = Math.ceil(columns.length / number);
      for (let from = 0; from < columns.length; from += each) {
        const kept = new Set([0, ...columns.slice(from, from + each)]);
        const table = scores.cloneNode(true);
        table.removeAttribute("id");
        for (const row of table.rows)
          [...row.cells].forEach((cell, column) => (kept.has(column) ? (cell.hidden = false) : cell.remove()));
        // A heading that is repeated on the next page repeats its text only.
        for (const button of table.querySelectorAll("thead button")) button.replaceWith(...button.childNodes);
        tables.push(make("h3", "", title), table);
      }
    }
    byId("paper").replaceChildren(...tables);
  });
  addEventListener("afterprint", () => byId("paper").replaceChildren());

  function order(left, right, descending) {
    const missing = (value) => (typeof value === "number" ? Number.isNaN(value) : value === "");
    if (missing(left) || missing(right)) return missing(left) - missing(right);
    const sense = typeof left === "string" ? left.localeCompare(right, undefined, { numeric: true }) : left - right;
    return descending ? -sense : sense;
  }

  function sortScores(head) {
    const heads = [...scores.tHead.rows[0].cells];
    const column = heads.indexOf(head);
    const before = head.getAttribute("aria-sort");
    const first = column === 0 || head.dataset.higher === "0" ? "ascending" : "descending";
    const direction = before === null ? first : before === "ascending" ? "descending" : "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const key = (row) => Number(column === 0 ? row.dataset.place : (row.cells[column].dataset.value ?? NaN));
    const rows = [...scores.tBodies[0].rows];
    rows.sort((a, b) => order(key(a), key(b), direction === "descending"));
    scores.tBodies[0].append(...rows);
  }

  for (const head of scores.tHead.rows[0].cells) head.querySelector("button").onclick = () => sortScores(head);
  for (const button of document.querySelectorAll("#regions button"))
    button.onclick = () => showRegion(button.dataset.region);
  if (byId("regions")) showRegion(document.querySelector("#regions button").dataset.region);
  byId("spread").onchange = (event) => scores.classList.toggle("spread", event.target.checked);

  const list = { metric: report.metrics[0], scene: "", sort: "name", descending: false, shown: [] };

  function scoreOf(image, method, metric) {
    const value = image.scores[method.name]?.[metric?.name];
    return value === undefined || value === null ? NaN : Number(value);
  }

  function digitsOf(metric) {
    const values = images.flatMap((image) => report.methods.map((method) => scoreOf(image, method, metric)));
    const largest = Math.max(...values.filter(Number.isFinite).map(Math.abs), 0);
    return largest >= 100 ? 1 : largest >= 10 ? 2 : largest >= 1 ? 3 : 4;
  }

  function fillList() {
    const head = byId("image-table").tHead;
    const row = make("tr");
    const columns = [["name", "Image", "name"], ["scene", "Scene", ""]];
    for (const method of report.methods) columns.push([method, method.title, "score"]);
    for (const [key, title, className] of columns) {
      const cell = make("th", className);
      cell.scope = "col";
      const button = make("button", "", title);
      button.type = "button";
      button.onclick = () => {
        const better = typeof key === "object" && list.metric?.higher;
        list.descending = list.sort === key ? !list.descending : Boolean(better);
        list.sort = key;
        fillList();
      };
      if (list.sort === key) cell.setAttribute("aria-sort", list.descending ? "descending" : "ascending");
      cell.append(button);
      row.append(cell);
    }
    head.replaceChildren(row);
    const keyOf = (index) =>
      typeof list.sort === "string" ? images[index][list.sort] : scoreOf(images[index], list.sort, list.metric);
    list.shown = images.map((_, index) => index).filter((index) => !list.scene || images[index].scene === list.scene);
    list.shown.sort((a, b) => order(keyOf(a), keyOf(b), list.descending) || a - b);
    const digits = digitsOf(list.metric);
    byId("image-table").tBodies[0].replaceChildren(...list.shown.map((index) => imageRow(index, digits)));
    byId("count").textContent = `${list.shown.length} of ${images.length} images`;
  }

  function imageRow(index, digits) {
    const image = images[index];
    const row = make("tr");
    row.dataset.image = index;
    const name = make("th", "name");
    name.scope = "row";
    const open = make("button", "open");
    open.type = "button";
    const thumb = make("img");
    thumb.alt = "";
    thumb.src = Object.values(image.layers).find((layer) => !layer.span)?.src ?? Object.values(image.layers)[0].src;
    open.append(thumb, breakable(image.name));
    name.append(open);
    const scene = make("td", "quiet");
    scene.append(breakable(image.scene));
    row.append(name, scene);
    const values = report.methods.map((method) => scoreOf(image, method, list.metric));
    const able = values.filter((value, k) => !Number.isNaN(value) && report.methods[k].kind !== "oracle");
    const top = list.metric?.higher ? Math.max(...able) : Math.min(...able);
    report.methods.forEach((method, k) => {
      const best = values[k] === top && method.kind !== "oracle";
      const cell = make("td", best ? "score top-score" : "score", scoreText(values[k], digits));
      cell.title = `${method.title} on ${image.name}. ${list.metric?.hint ?? ""}`;
      if (Object.hasOwn(image.failed, method.name)) {
        cell.append(make("div", "failed", "failed"));
        cell.title = `Failed: ${image.failed[method.name]}. ${cell.title}`;
      }
      row.append(cell);
    });
    row.onclick = () => show(index, true);
    return row;
  }

  // ------------------------------------------------------------------------------------------ copies

  async function decode(image, key) {
    const { src, floor, span } = image.layers[key];
    // A tone-mapped result is a display image: no exposure applies to it.
    return { key, light: lightOf({ floor, span }), fixed: report.task === "tonemap" && !span, ...(await pixelsOf(src)) };
  }

  // ------------------------------------------------------------------------------------------ viewer

  const viewer = byId("viewer");
  const canvas = byId("canvas");
  const state = {
    index: -1, image: null, layers: new Map(), limits: [-8, 2],
    left: "", right: "", mode: "light", stops: 0, moved: false, range: 2, split: 0.5, wipe: false, all: false, outline: false,
  };

  function titleOf(key) {
    if (key === "input") return "Input";
    if (key === "reference") return report.task === "tonemap" ? "HDR input" : "Reference";
    return methodOf.get(key.slice(7))?.title ?? key;
  }

  function keysOf() {
    return ["input", ...report.methods.map((method) => `method:${method.name}`), "reference"];
  }

  const usable = (key) => Boolean(state.image?.layers[key]);
  const hasErrors = () => report.task === "reconstruct" && usable("reference");

  async function show(index, fresh = false) {
    const address = `#view-${index + 1}`;
    if (fresh) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    const image = images[index];
    Object.assign(state, { index, image, layers: new Map(), stops: state.moved ? state.stops : image.stops });
    const able = keysOf().filter(usable);
    const results = able.filter((key) => key.startsWith("method:"));
    if (!usable(state.left)) state.left = results[0] ?? able[0] ?? "";
    if (!usable(state.right)) state.right = usable("reference") ? "reference" : (able.at(-1) ?? "");
    if (state.mode === "error" && !hasErrors()) state.mode = "light";
    if (!viewer.open) viewer.showModal();
    describe();
    const [mask, ...decoded] = await Promise.all([
      image.clipped ? pixelsOf(image.clipped) : null, ...able.map((key) => decode(image, key)),
    ]);
    if (state.image !== image) return;
    state.mask = mask;
    for (const layer of decoded) state.layers.set(layer.key, layer);
    const shape = decoded[0];
    if (!shape) return;
    canvas.width = shape.width;
    canvas.height = shape.height;
    byId("frame").style.setProperty("--ratio", shape.width / shape.height);
    const widest = state.layers.get("reference") ?? decoded.find((layer) => layer.key !== "input") ?? shape;
    state.limits = limitsOf(widest);
    buildSheet();
    update();
  }

  function describe() {
    const { image } = state;
    const position = list.shown.indexOf(state.index);
    const place = position >= 0 ? `${position + 1} of ${list.shown.length}` : `${state.index + 1} of ${images.length}`;
    byId("name").textContent = image.name;
    byId("where").textContent = `${place} · scene ${image.scene}`;
    byId("outline").disabled = !usable("input");
    document.querySelector('[data-mode="error"]').disabled = !hasErrors();
    const digits = digitsOf(list.metric);
    const rows = keysOf().filter((key) => usable(key) || key.startsWith("method:"));
    const metric = list.metric;
    const head = metric
      ? make("div", "layer-head quiet", `${metric.title}${metric.unit ? `, ${metric.unit}` : ""} (${metric.region.toLowerCase()})`)
      : make("div");
    byId("layers").replaceChildren(head, ...rows.map((key) => layerButton(key, digits)));
    const other = byId("other");
    other.replaceChildren(...rows.filter(usable).map((key) => new Option(titleOf(key), key)));
  }

  function layerButton(key, digits) {
    const method = methodOf.get(key.slice(7));
    const button = make("button");
    button.type = "button";
    button.dataset.layer = key;
    const reason = method ? state.image.failed[method.name] : undefined;
    button.disabled = !usable(key);
    button.title = reason ? `Failed: ${reason}` : method && list.metric ? list.metric.hint : "";
    const cap = method ? (method.index < 9 ? String(method.index + 1) : "") : key[0];
    button.append(make("kbd", "", cap || "·"));
    if (method) {
      const swatch = make("span", "swatch");
      swatch.style.setProperty("--swatch", colourOf(method.index));
      button.append(swatch);
    }
    button.append(make("span", "label", titleOf(key)));
    const value = method ? scoreText(scoreOf(state.image, method, list.metric), digits) : "";
    button.append(make("span", reason === undefined ? "value" : "failed", reason === undefined ? value : "failed"));
    if (reason) button.append(make("span", "reason failed", reason));
    button.onclick = () => choose(key);
    return button;
  }

  function choose(key) {
    if (!usable(key)) return;
    state.left = key;
    if (state.all) state.all = false;
    update();
  }

  function viewOf() {
    return { image: state.image, mode: state.mode, stops: state.stops, range: state.range, limits: state.limits, reference: state.layers.get("reference") };
  }

  function update() {
    if (!state.layers.size) return;
    const { wipe, all, mode } = state;
    byId("frame").hidden = all;
    byId("sheet").hidden = !all;
    if (all) drawSheet();
    else draw();
    for (const button of document.querySelectorAll("#layers button")) {
      button.setAttribute("aria-pressed", String(button.dataset.layer === state.left));
      button.classList.toggle("right", wipe && !all && button.dataset.layer === state.right);
    }
    for (const button of document.querySelectorAll("[data-mode]"))
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    byId("wipe").setAttribute("aria-pressed", String(wipe && !all));
    byId("all").setAttribute("aria-pressed", String(all));
    byId("outline").setAttribute("aria-pressed", String(state.outline));
    byId("exposure").value = state.stops;
    byId("stops").textContent = state.stops ? signed(state.stops) : "0";
    byId("range-label").hidden = mode !== "error";
    byId("other-label").hidden = !wipe || all;
    byId("other").value = state.right;
    hdrViewer.drawLegend(byId("legend"), viewOf());
    drawHistogram();
    drawCurves();
  }

  function draw() {
    if (!state.layers.size) return;
    const { wipe, split } = state;
    const [left, right] = [state.layers.get(state.left), state.layers.get(state.right)];
    const image = new ImageData(canvas.width, canvas.height);
    const edge = wipe ? Math.round(split * canvas.width) : canvas.width;
    const view = viewOf();
    shade(view, left, image.data, 0, edge);
    if (wipe) shade(view, right, image.data, edge, canvas.width);
    if (state.outline && state.mask) outlineClipped(state.mask, image.data);
    canvas.getContext("2d").putImageData(image, 0, 0);
    byId("tag-left").textContent = titleOf(state.left);
    byId("tag-right").textContent = wipe ? titleOf(state.right) : "";
    showDivider(byId("divider"), wipe, split);
  }

  function buildSheet() {
    byId("sheet").replaceChildren(...[...state.layers.values()].map((layer) => {
      const button = make("button");
      button.type = "button";
      button.dataset.sheet = layer.key;
      const small = make("canvas");
      small.width = layer.width;
      small.height = layer.height;
      button.append(small, make("span", "tag", titleOf(layer.key)));
      button.onclick = () => choose(layer.key);
      return button;
    }));
  }

  function drawSheet() {
    const view = viewOf();
    for (const button of byId("sheet").children) {
      const layer = state.layers.get(button.dataset.sheet);
      const image = new ImageData(layer.width, layer.height);
      shade(view, layer, image.data, 0, layer.width);
      if (state.outline && state.mask) outlineClipped(state.mask, image.data);
      button.firstChild.getContext("2d").putImageData(image, 0, 0);
      button.setAttribute("aria-pressed", String(layer.key === state.left));
    }
  }

  // ------------------------------------------------------------------------------------------ charts

  function chosen() {
    const keys = state.wipe && !state.all ? [state.left, state.right] : [state.left];
    return [...new Set(keys)].filter((key) => key !== "reference" && state.layers.has(key));
  }

  function strokeOf(key) {
    const method = methodOf.get(key.replace(/^method:/, ""));
    return method ? colourOf(method.index) : key === "input" ? "#8a8f98" : "currentColor";
  }

  function drawHistogram() {
    const parts = chosen().map((key) => ({ layer: state.layers.get(key), title: titleOf(key), stroke: strokeOf(key) }));
    const reference = state.layers.get("reference");
    if (reference) parts.push({ layer: reference, title: titleOf("reference") });
    hdrViewer.drawHistogram(byId("histogram"), parts, state.limits);
  }

  function drawCurves() {
    const curves = Object.entries(state.image.curves);
    byId("curves-figure").hidden = !curves.length;
    const shown = new Set(chosen().map((key) => key.slice(7)));
    const emphasised = curves.some(([name]) => shown.has(name));
    hdrViewer.drawCurves(byId("curves"), curves.map(([name, values]) => {
      const method = methodOf.get(name);
      if (!method) return { values, title: name };
      return { values, title: method.title, stroke: colourOf(method.index), faint: emphasised && !shown.has(name) };
    }));
  }

  // ------------------------------------------------------------------------------------------ input

  function step(by) {
    const around = list.shown.length ? list.shown : images.map((_, index) => index);
    const at = around.indexOf(state.index);
    show(around[(at + by + around.length) % around.length]);
  }

  function expose(stops) {
    const { min, max } = byId("exposure");
    Object.assign(state, { stops: Math.min(Math.max(stops, Number(min)), Number(max)), moved: true });
    update();
  }

  function reset() {
    Object.assign(state, { stops: state.image.stops, moved: false });
    update();
  }

  function setMode(mode) {
    if (mode === "error" && !hasErrors()) return;
    state.mode = state.mode === mode ? "light" : mode;
    update();
  }

  function toggle(name) {
    if (name === "outline" && !usable("input")) return;
    if (name === "wipe" && state.all) Object.assign(state, { all: false, wipe: true });
    else state[name] = !state[name];
    if (state.wipe && state.left === state.right)
      state.right = [...state.layers.keys()].reverse().find((key) => key !== state.left) ?? state.left;
    update();
  }

  const KEYS = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    "+": () => expose(state.stops + 0.5), "=": () => expose(state.stops + 0.5), "]": () => expose(state.stops + 0.5),
    "-": () => expose(state.stops - 0.5), "[": () => expose(state.stops - 0.5), 0: reset,
    w: () => toggle("wipe"), a: () => toggle("all"), c: () => toggle("outline"),
    f: () => setMode("colour"), e: () => setMode("error"),
    i: () => choose("input"), r: () => choose("reference"),
  };

  addEventListener("keydown", (event) => {
    if (!viewer.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const own = event.target.matches?.("select, input, #divider") && event.key.startsWith("Arrow");
    if (own || (event.target.matches?.("select") && event.key.length === 1)) return;
    const method = /^[1-9]$/.test(event.key) ? report.methods[Number(event.key) - 1] : null;
    const act = method ? () => choose(`method:${method.name}`) : Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
    if (!act) return;
    event.preventDefault();
    act();
  });

  byId("previous").onclick = () => step(-1);
  byId("next").onclick = () => step(1);
  byId("close").onclick = () => viewer.close();
  viewer.addEventListener("close", () => {
    if (location.hash.startsWith("#view-")) history.replaceState(null, "", "#images");
  });
  byId("exposure").oninput = (event) => expose(Number(event.target.value));
  byId("exposure").ondblclick = reset;
  byId("reset").onclick = reset;
  byId("wipe").onclick = () => toggle("wipe");
  byId("all").onclick = () => toggle("all");
  byId("outline").onclick = () => toggle("outline");
  byId("other").onchange = (event) => { state.right = event.target.value; update(); };
  byId("range").onchange = (event) => { state.range = Number(event.target.value); update(); };
  for (const button of document.querySelectorAll("[data-mode]"))
    button.onclick = () => { state.mode = button.dataset.mode; update(); };

  makeDivider(byId("divider"), byId("frame"), () => state.split, (split) => { state.split = split; draw(); });

  byId("frame").addEventListener("pointermove", (event) => {
    const pixel = pixelUnder(canvas, event);
    if (!pixel || !state.layers.size) return;
    const key = state.wipe && pixel.x >= state.split * canvas.width ? state.right : state.left;
    const seen = stopsOf(state.layers.get(key))[pixel.index];
    const parts = [`${titleOf(key)} ${signed(seen)} stops from white`];
    const reference = state.layers.get("reference");
    if (reference && key !== "reference" && hasErrors()) {
      const wanted = stopsOf(reference)[pixel.index];
      parts.push(`reference ${signed(wanted)}`, `difference ${signed(seen - wanted)}`);
    }
    byId("readout").textContent = parts.join(" · ");
  });
  byId("frame").addEventListener("pointerleave", () => { byId("readout").textContent = ""; });

  // ------------------------------------------------------------------------------------------ start

  const regions = new Map();
  report.metrics.forEach((metric, index) => {
    if (!regions.has(metric.region)) regions.set(metric.region, make("optgroup"));
    regions.get(metric.region).label = metric.region;
    regions.get(metric.region).append(new Option(metric.unit ? `${metric.title} (${metric.unit})` : metric.title, index));
  });
  byId("score").append(...regions.values());
  byId("score").onchange = (event) => { list.metric = report.metrics[Number(event.target.value)]; fillList(); };
  const scenes = [...new Set(images.map((image) => image.scene))].sort();
  byId("scene").append(new Option("all scenes", ""), ...scenes.map((scene) => new Option(scene, scene)));
  byId("scene").onchange = (event) => { list.scene = event.target.value; fillList(); };

  function follow() {
    const asked = /^#view-(\d+)$/.exec(location.hash);
    if (asked && images[Number(asked[1]) - 1]) show(Number(asked[1]) - 1);
    else if (viewer.open) viewer.close();
  }
  addEventListener("popstate", follow);
  fillList();
  follow();
})();
