"use strict";
(() => {
  const { make, signed, pixelsOf, lightOf, stopsOf, limitsOf, shade, outlineClipped, makeDivider, showDivider, pixelUnder } = hdrViewer;
  const byId = (id) => document.getElementById(id);
  const canvas = byId("canvas");
  const PHOTOGRAPH = "photograph", LIGHT = "light";
  const FIRST = "reinhard";
  const SLOW = 100; // milliseconds from which an answer is worth a word
  const STROKES = { [PHOTOGRAPH]: "#8a8f98", [LIGHT]: "#e8862a" };
  const FORMAT_NAMES = { png: "PNG", jpeg: "JPEG", ultrahdr: "Ultra HDR" };

  let about = null; // what the server says of itself
  const known = (async () => { about = await (await ask("/api")).json(); })();
  const pictures = []; // in the order in which they were added
  let current = null;
  const view = {
    shown: LIGHT, stops: 0, split: 0.5, wipe: true, outline: false, mask: false, mode: "light", screen: false, limits: [-8, 2],
  };
  const settings = new Map(); // by operator what was set, for all pictures

  // ------------------------------------------------------------------------------------------ server

  async function ask(address, options = {}) {
    const answer = await fetch(address, options).catch(() => { throw new Error("The server does not answer; is hdrlab serve still running?"); });
    if (answer.ok) return answer;
    const { error } = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
    throw new Error(error);
  }

  function notice(text) {
    byId("notice").textContent = text;
    byId("notice").hidden = !text;
  }
  const tell = (text) => { byId("status").textContent = text; };
  const addressOf = (picture, rest) => `/api/pictures/${picture.key}/${rest}`;
  const assetOf = (picture, name) => addressOf(picture, `files/${encodeURIComponent(name)}`);

  function timeText(seconds) {
    if (seconds < 1.5) return "about a second";
    if (seconds < 90) return `about ${Math.round(seconds)} s`;
    return seconds < 5400 ? `about ${Math.round(seconds / 60)} min` : `about ${Math.round(seconds / 3600)} h`;
  }

  function sizeText(bytes) {
    return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  }

  // ------------------------------------------------------------------------------------------ adding

  const TRIES = 30; // every two seconds, where the server has no room
  let sending = 0;

  async function add(list) {
    const files = [...list];
    await known;
    notice("");
    const room = about.pictures - pictures.filter((one) => one.state !== "failed").length;
    const taken = files.slice(0, Math.max(room, 0));
    if (taken.length < files.length) notice(`At most ${about.pictures} pictures are kept at a time: ${files.length - taken.length} were not taken. Delete some first.`);
    for (const file of taken) {
      const picture = { name: file.name, file, state: "sending", share: 0, key: null, layers: new Map(), renderings: {} };
      if (file.size > about.file_mb * 1e6) fail(picture, `is larger than the ${about.file_mb} MB that are accepted`);
      else picture.address = URL.createObjectURL(file);
      pictures.push(picture);
    }
    if (taken.length && (!current || current.state === "failed")) choose(pictures[pictures.length - taken.length]);
    arrange();
    send();
  }

  function fail(picture, reason) {
    Object.assign(picture, { state: "failed", reason });
    tell(`${picture.name}: ${reason}`);
  }

  function send() {
    const next = pictures.find((one) => one.state === "sending" && !one.request);
    if (!next || sending >= 2) return;
    sending += 1;
    const request = new XMLHttpRequest();
    next.request = request;
    request.open("POST", "/api/pictures");
    request.setRequestHeader("X-File-Name", encodeURIComponent(next.name));
    request.responseType = "json";
    request.upload.onprogress = (event) => { next.share = event.loaded / (event.total || 1); arrange(); };
    request.onload = () => {
      if (request.status === 201) Object.assign(next, request.response);
      else if (request.status === 503 && (next.tries = (next.tries ?? 0) + 1) < TRIES) next.later = true;
      else fail(next, request.response?.error ?? `the server answered ${request.status}`);
    };
    request.onerror = () => fail(next, "did not arrive; is hdrlab serve still running?");
    request.onloadend = () => {
      sending -= 1;
      if (next.later && pictures.includes(next)) {
        Object.assign(next, { later: false, share: 0 });
        setTimeout(() => { next.request = null; send(); }, 2000);
        return;
      }
      next.file = null;
      if (!pictures.includes(next) && next.key) fetch(`/api/pictures/${next.key}`, { method: "DELETE" });
      remember();
      arrange();
      send();
      poll();
    };
    request.send(next.file);
    send();
  }

  async function addExample() {
    try {
      const blob = await (await ask("/page/example.jpg")).blob();
      add([new File([blob], "rendered scene.jpg", { type: blob.type })]);
    } catch (error) { notice(error.message); }
  }

  async function remove(picture) {
    const at = pictures.indexOf(picture);
    if (at < 0) return;
    pictures.splice(at, 1);
    // One that may have arrived is waited for: it is deleted by the key that it gets.
    if (picture.state === "sending" && picture.share > 0 && picture.share < 0.9) picture.request?.abort();
    if (picture.address) URL.revokeObjectURL(picture.address);
    if (picture === current) choose(pictures[Math.min(at, pictures.length - 1)] ?? null);
    remember();
    arrange();
    if (!pictures.length) byId("drop").focus();
    tell(`${picture.name} deleted`);
    if (picture.key) await fetch(`/api/pictures/${picture.key}`, { method: "DELETE" }).catch(() => {});
  }

  // So that a reload finds them again; the tab's end forgets them.
  function remember() {
    sessionStorage.setItem("pictures", JSON.stringify(pictures.map((one) => one.key).filter(Boolean)));
  }

  async function recall() {
    const keys = JSON.parse(sessionStorage.getItem("pictures") ?? "[]");
    if (!keys.length) return;
    for (const state of await states(keys)) pictures.push({ layers: new Map(), ...state });
    remember();
    arrange();
    if (pictures.length) choose(pictures[0]);
    poll();
  }

  // ------------------------------------------------------------------------------------------ progress

  async function states(keys) {
    if (!keys.length) return [];
    const query = new URLSearchParams(keys.map((key) => ["key", key]));
    if (isUsed && current?.key) query.set("used", current.key);
    isUsed = false;
    return (await (await ask(`/api/pictures?${query}`)).json()).pictures;
  }

  const isPending = (one) =>
    ["waiting", "working"].includes(one.state) || (one.state === "ready" && !one.complete) || Object.values(one.renderings ?? {}).includes("waiting");
  let timer = 0;
  let isUsed = false; // whether somebody did anything since the server was asked last
  for (const event of ["pointermove", "pointerdown", "keydown", "touchmove"]) addEventListener(event, () => { isUsed = true; }, { passive: true });

  async function poll() {
    clearTimeout(timer);
    const known = pictures.filter((one) => one.key);
    if (!known.length) return;
    try {
      const found = new Map((await states(known.map((one) => one.key))).map((state) => [state.key, state]));
      for (const picture of known) {
        const state = found.get(picture.key);
        const before = picture.state;
        if (!state) fail(picture, "was deleted from the server: its time was over");
        else Object.assign(picture, state);
        if (!state) picture.key = null;
        if (before !== "ready" && picture.state === "ready") {
          tell(`${picture.name} is ready`);
          if (picture === current) choose(picture);
        }
        if (before !== "failed" && picture.state === "failed") tell(`${picture.name}: ${picture.reason}`);
        deliver(picture);
      }
      if (byId("notice").dataset.lost) { notice(""); delete byId("notice").dataset.lost; }
    } catch (error) {
      notice(error.message);
      byId("notice").dataset.lost = "1";
    }
    arrange();
    clearTimeout(timer);
    timer = setTimeout(poll, pictures.some(isPending) ? 400 : 20000);
  }

  function progressText(one) {
    if (one.state === "sending") return one.tries ? "the server is full, trying again …" : one.request ? `arriving, ${Math.round(100 * one.share)} %` : "waiting to be sent";
    if (one.state === "waiting") return `${one.ahead ? `${one.ahead} before it, ` : ""}${timeText(one.seconds_left)} left`;
    if (one.state === "working" && !one.share) return "being read …";
    if (one.state === "working") return `${Math.round(100 * one.share)} %, ${timeText(one.seconds_left)} left`;
    return one.state === "failed" ? one.reason : "";
  }

  // What every change of the list shows: the list itself, and the progress of the current picture.
  function arrange() {
    const some = pictures.length > 0;
    byId("welcome").hidden = some;
    byId("bench").hidden = !some;
    byId("aside").hidden = current?.state !== "ready";
    byId("keys").hidden = !some;
    byId("add").hidden = !some;
    byId("delete-all").hidden = !some;
    const items = byId("pictures");
    const old = new Map([...items.children].map((item) => [item.picture, item]));
    items.replaceChildren(...pictures.map((picture) => {
      const item = old.get(picture) ?? itemOf(picture);
      const button = item.firstChild;
      button.setAttribute("aria-current", String(picture === current));
      button.title = [picture.name, progressText(picture)].filter(Boolean).join(": ");
      button.setAttribute("aria-label", button.title);
      item.className = picture.state;
      const share = picture.state === "sending" ? 0.1 * picture.share : 0.1 + 0.9 * (picture.share ?? 0);
      button.style.setProperty("--share", ["ready", "failed"].includes(picture.state) ? 0 : share);
      button.lastChild.textContent = picture.state === "failed" ? "!" : picture.state === "ready" ? "" : picture.state === "working" && picture.share ? `${Math.round(100 * picture.share)} %` : "…";
      button.lastChild.hidden = picture.state === "ready";
      const image = button.firstChild;
      const source = picture.state === "ready" ? assetOf(picture, "thumbnail.jpg") : picture.address ?? "";
      if (source && image.getAttribute("src") !== source) image.src = source;
      image.hidden = !source || source === image.broken;
      return item;
    }));
    if (current && current.state !== "ready") {
      byId("progress-name").textContent = current.name;
      byId("progress-text").textContent = progressText(current);
      const bar = byId("progress-bar");
      bar.hidden = current.state === "failed";
      if (current.state === "waiting" || (current.state === "working" && !current.share)) bar.removeAttribute("value");
      else bar.value = current.share ?? 0;
      byId("give-up").textContent = current.state === "failed" ? "Remove" : "Cancel";
    }
    if (current?.state === "ready") showFiles();
  }

  function itemOf(picture) {
    const item = make("li");
    item.picture = picture;
    const button = make("button");
    button.type = "button";
    const image = make("img");
    image.alt = "";
    // Browsers know fewer formats than the server.
    image.onerror = () => { image.broken = image.getAttribute("src"); image.hidden = true; };
    button.append(image, make("i", "share"), make("span", "sign"));
    button.onclick = () => choose(picture);
    item.append(button);
    return item;
  }

  // ------------------------------------------------------------------------------------------ a picture

  async function choose(picture) {
    const fresh = picture !== current;
    current = picture;
    byId("progress").hidden = !picture || picture.state === "ready";
    byId("frame").hidden = !picture || picture.state !== "ready";
    byId("aside").hidden = !picture || picture.state !== "ready";
    byId("tools").hidden = byId("tiles").hidden = byId("aside").hidden;
    byId("readout").textContent = "";
    const waiting = byId("waiting");
    waiting.hidden = !picture?.address;
    waiting.onerror = () => { waiting.hidden = true; };
    if (picture?.address) waiting.src = picture.address;
    else waiting.removeAttribute("src");
    arrange();
    if (!picture || picture.state !== "ready") return;
    const { facts } = picture;
    if (!picture.opened) {
      picture.opened = true;
      picture.view = facts.photograph
        ? { shown: LIGHT, wipe: true, stops: facts.stops }
        : { shown: FIRST, wipe: false, stops: facts.stops };
    }
    if (fresh || !picture.layers.size) Object.assign(view, picture.view, { screen: false });
    describe();
    buildTiles();
    try {
      const [light, photograph, clipped, mask] = await Promise.all([
        lightLayer(picture), facts.photograph ? photographLayer(picture) : null,
        facts.photograph ? pixelsOf(assetOf(picture, "clipped.png")) : null, facts.mask ? pixelsOf(assetOf(picture, "alpha.png")) : null,
      ]);
      picture.layers.set(LIGHT, light);
      if (photograph) picture.layers.set(PHOTOGRAPH, photograph);
      Object.assign(picture, { outline: clipped, alpha: mask });
    } catch (error) {
      notice(`${picture.name}: ${error.message}`);
      return;
    }
    // Only the pictures last looked at stay in the browser's memory.
    for (const other of pictures) if (other !== picture && other.layers.size && pictures.filter((one) => one.layers.size).length > 4) other.layers.clear();
    if (picture !== current) return;
    const light = picture.layers.get(LIGHT);
    canvas.width = light.width;
    canvas.height = light.height;
    byId("frame").style.setProperty("--ratio", light.width / light.height);
    view.limits = limitsOf(light);
    byId("curve-figure").hidden = !facts.curve;
    if (facts.curve) hdrViewer.drawCurves(byId("curve"), [{ values: facts.curve, title: "recovered", stroke: STROKES[LIGHT] }]);
    if (view.shown !== LIGHT && view.shown !== PHOTOGRAPH) request();
    update();
  }

  async function lightLayer(picture) {
    if (picture.layers.has(LIGHT)) return picture.layers.get(LIGHT);
    const { width, height, floor, span, codes: most } = picture.facts;
    const three = new Uint16Array(await (await ask(assetOf(picture, "light.bin"))).arrayBuffer());
    const codes = new Uint16Array(width * height * 4);
    for (let i = 0, j = 0; i < codes.length; i += 4, j += 3) {
      codes[i] = three[j];
      codes[i + 1] = three[j + 1];
      codes[i + 2] = three[j + 2];
    }
    return { width, height, codes, light: lightOf({ floor, span }, most + 1) };
  }

  async function photographLayer(picture) {
    return picture.layers.get(PHOTOGRAPH) ?? { light: lightOf({}), ...(await pixelsOf(assetOf(picture, "photograph.jpg"))) };
  }

  function describe() {
    const { facts, size, name } = current;
    byId("name").textContent = name;
    const parts = [`${size[0]} × ${size[1]}`, `${facts.range.toFixed(1)} stops`];
    if (facts.photograph && facts.clipped) parts.push(`${(100 * facts.clipped).toFixed(facts.clipped < 0.01 ? 2 : 1)} % clipped`);
    byId("about").textContent = parts.join(" · ");
    byId("notes").replaceChildren(...facts.notes.map((note) => make("li", "", note)));
  }

  const titleOf = (key) => (key === PHOTOGRAPH ? "Photograph" : key === LIGHT ? "HDR" : key);
  const operatorOf = (key) => about.operators.find((one) => one.name === key);
  const keysOf = () => [...(current.facts.photograph ? [PHOTOGRAPH] : []), LIGHT, ...about.operators.map((one) => one.name)];
  const original = () => (current.facts.photograph ? PHOTOGRAPH : LIGHT);

  function buildTiles() {
    const picture = current;
    for (const image of byId("tiles").querySelectorAll("img")) image.removeAttribute("src"); // what is not there yet need not come
    byId("tiles").replaceChildren(...keysOf().map((key) => {
      const button = make("button", key === LIGHT ? "first" : "");
      button.type = "button";
      button.dataset.key = key;
      const image = make("img");
      image.alt = "";
      image.loading = "lazy";
      image.src = key === PHOTOGRAPH ? assetOf(picture, "photograph.jpg") : key === LIGHT ? assetOf(picture, "thumbnail.jpg") : addressOf(picture, `shown/${key}?size=tile`);
      button.append(image, make("span", "", titleOf(key)));
      button.title = operatorOf(key)?.summary ?? (key === LIGHT ? "The light itself, at any exposure" : "As it came");
      button.onclick = () => show(key);
      return button;
    }));
  }

  function show(key) {
    view.shown = key;
    view.screen = false;
    if (operatorOf(key)) { buildSliders(); request(); }
    update();
    byId("tiles").querySelector(`[data-key="${key}"]`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // ------------------------------------------------------------------------------------------ operators

  const digitsOf = (value) => (Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);

  function buildSliders() {
    const operator = operatorOf(view.shown);
    if (!operator || byId("sliders").dataset.of === operator.name) return;
    byId("sliders").dataset.of = operator.name;
    byId("settings-title").textContent = operator.name;
    const chosen = settings.get(operator.name) ?? {};
    byId("sliders").replaceChildren(...operator.sliders.map((slider) => {
      const { name, low, high, logarithmic } = slider;
      const label = make("label");
      label.title = slider.help;
      const input = make("input");
      input.type = "range";
      input.min = 0;
      input.max = 1000;
      const output = make("output");
      const place = (value) => 1000 * (logarithmic ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
      const valueAt = (at) => (logarithmic ? low * (high / low) ** (at / 1000) : low + (high - low) * (at / 1000));
      const shown = (value) => {
        output.textContent = value === null ? "auto" : value.toFixed(digitsOf(value)).replace("-", "−");
        input.setAttribute("aria-valuetext", output.textContent);
        label.classList.toggle("changed", name in chosen);
      };
      const start = chosen[name] ?? slider.default;
      input.value = start === null ? 1000 : place(start);
      shown(start);
      input.oninput = () => {
        let value = valueAt(Number(input.value));
        // The default is easy to find again.
        if (slider.default !== null && Math.abs(place(value) - place(slider.default)) < 12) value = slider.default;
        if (slider.default === null && input.value === "1000") value = null;
        if (value === slider.default) delete chosen[name];
        else chosen[name] = Number(value.toPrecision(4));
        settings.set(operator.name, chosen);
        shown(value);
        request();
      };
      label.ondblclick = () => { input.value = slider.default === null ? 1000 : place(slider.default); input.oninput(); };
      label.append(make("span", "", name.replaceAll("_", " ")), input, output);
      return label;
    }));
  }

  const queryOf = (operator) => new URLSearchParams(Object.entries(settings.get(operator) ?? {})).toString();
  const speeds = new Map(); // milliseconds from a wish to the whole preview, by operator

  // Ask for what the sliders say. Of an operator that takes long a small draft comes first, which stands for it.
  function request() {
    if ((speeds.get(view.shown) ?? 0) > 2 * SLOW) fetchLatest("draft");
    fetchLatest("preview");
  }

  const asking = { draft: false, preview: false };

  // While an answer is under way only the last wish counts.
  async function fetchLatest(size) {
    const [operator, picture] = [view.shown, current];
    if (asking[size] || !operatorOf(operator) || picture?.state !== "ready" || !picture.layers.has(LIGHT)) return;
    const query = queryOf(operator);
    const have = picture.layers.get(operator);
    if (have?.query === query && (have.whole || size === "draft")) { update(); return; }
    asking[size] = true;
    const begun = performance.now();
    const late = size === "preview" ? setTimeout(() => { byId("busy").textContent = `${operator} …`; }, 2 * SLOW) : 0;
    try {
      const blob = await (await ask(addressOf(picture, `shown/${operator}?${new URLSearchParams({ size })}&${query}`))).blob();
      const { width, height } = picture.layers.get(LIGHT);
      const codes = await scaledPixels(blob, width, height);
      const now = picture.layers.get(operator);
      const keeps = now?.whole && now.query === queryOf(operator);
      if (!keeps && (size === "preview" || query === queryOf(operator))) {
        for (const key of [...picture.layers.keys()]) if (operatorOf(key)) picture.layers.delete(key);
        picture.layers.set(operator, { width, height, codes, light: lightOf({}), fixed: true, query, whole: size === "preview" });
      }
      if (size === "preview") speeds.set(operator, performance.now() - begun);
    } catch (error) {
      if (pictures.includes(picture)) notice(`${operator}: ${error.message}`);
      picture.layers.set(operator, { ...picture.layers.get(LIGHT), query, whole: true });
    } finally {
      clearTimeout(late);
      asking[size] = false;
      if (size === "preview") byId("busy").textContent = "";
    }
    if (picture === current && operator === view.shown) { summarise(); update(); }
    fetchLatest(size);
  }

  async function scaledPixels(blob, width, height) {
    const bitmap = await createImageBitmap(blob);
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    return context.getImageData(0, 0, width, height).data;
  }

  function summarise() {
    const operator = operatorOf(view.shown);
    const spent = speeds.get(operator.name);
    const seconds = spent < 950 ? (spent / 1000).toFixed(1) : Math.round(spent / 1000);
    byId("summary").textContent = `${operator.summary}.${spent > 2 * SLOW ? ` A draft at once, the preview after about ${seconds} s.` : ""}`;
    byId("summary").dataset.milliseconds = Math.round(spent ?? 0);
  }

  // ------------------------------------------------------------------------------------------ drawing

  function update() {
    if (current?.state !== "ready" || !current.layers.has(LIGHT)) return;
    const operator = operatorOf(view.shown);
    const facts = current.facts;
    Object.assign(current.view, { shown: view.shown, wipe: view.wipe, stops: view.stops });
    byId("settings").hidden = !operator;
    if (operator) { buildSliders(); summarise(); }
    byId("exposure-label").hidden = byId("reset").hidden = Boolean(operator);
    byId("exposure").value = view.stops;
    byId("stops").textContent = view.stops ? signed(view.stops) : "0";
    for (const [id, on, able] of [
      ["wipe", view.wipe, view.shown !== original()], ["clipped", view.outline, Boolean(current.outline)],
      ["mask", view.mask, Boolean(current.alpha)], ["colour", view.mode === "colour", true],
      ["hdr", view.screen, screenIsHdr() && Boolean(current.files?.["ultrahdr.jpg"])],
    ]) {
      byId(id).setAttribute("aria-pressed", String(on && able));
      byId(id).disabled = !able;
    }
    byId("hdr").classList.toggle("unable", !screenIsHdr());
    byId("hdr").title = screenIsHdr() ? "Show it in HDR on this screen (h)" : "This screen shows no HDR, or its HDR is switched off";
    for (const tile of byId("tiles").children) tile.setAttribute("aria-pressed", String(tile.dataset.key === view.shown));
    draw();
    hdrViewer.drawLegend(byId("legend"), view);
    drawHistogram();
    showFiles();
  }

  const screenIsHdr = () => matchMedia("(dynamic-range: high)").matches;

  // While a rendering is under way the light stands for it.
  const layerOf = (key) => current.layers.get(key) ?? current.layers.get(LIGHT);

  function draw() {
    const left = view.wipe && view.shown !== original() ? original() : view.shown;
    const wiping = left !== view.shown;
    const image = new ImageData(canvas.width, canvas.height);
    const edge = wiping ? Math.round(view.split * canvas.width) : canvas.width;
    // Beside a rendering, which is made for a display, the original is shown as it was taken.
    const looking = operatorOf(view.shown) ? { ...view, stops: current.facts.stops } : view;
    shade(looking, layerOf(left), image.data, 0, edge);
    if (wiping) shade(looking, layerOf(view.shown), image.data, edge, canvas.width);
    if (view.mask && current.alpha) tint(current.alpha, image.data);
    if (view.outline && current.outline) outlineClipped(current.outline, image.data);
    canvas.getContext("2d").putImageData(image, 0, 0);
    byId("tag-left").textContent = titleOf(left);
    byId("tag-right").textContent = wiping ? titleOf(view.shown) : "";
    showDivider(byId("divider"), wiping && !view.screen, view.split);
    const screen = byId("screen");
    screen.hidden = !view.screen;
    if (view.screen) {
      const source = `${assetOf(current, "ultrahdr.jpg")}?shown`;
      if (screen.getAttribute("src") !== source) screen.src = source;
      byId("tag-left").textContent = "HDR on this screen";
      byId("tag-right").textContent = "";
    }
  }

  function tint({ codes }, data) {
    for (let i = 0; i < data.length; i += 4) {
      const share = (0.8 * codes[i]) / 255;
      data[i] += share * (255 - data[i]);
      data[i + 1] += share * (120 - data[i + 1]);
      data[i + 2] += share * (0 - data[i + 2]);
    }
  }

  function drawHistogram() {
    const keys = [...new Set([original(), LIGHT, view.shown])].filter((key) => current.layers.has(key));
    const parts = keys.map((key) => ({
      layer: current.layers.get(key), title: titleOf(key), stroke: key === PHOTOGRAPH ? undefined : STROKES[key] ?? "#4a86d8",
    }));
    hdrViewer.drawHistogram(byId("histogram"), parts, view.limits);
  }

  // ------------------------------------------------------------------------------------------ downloads

  function showFiles() {
    const { files, complete } = current;
    const links = [["hdr.exr", "OpenEXR"], ["ultrahdr.jpg", "Ultra HDR"]].map(([name, title]) => {
      const there = Boolean(files?.[name]);
      const link = make(there ? "a" : "button");
      if (there) {
        link.href = assetOf(current, name);
        link.download = "";
      } else link.disabled = true;
      link.dataset.file = name;
      link.append(make("span", "", title), make("small", "", there ? `HDR, ${sizeText(files[name])}` : complete ? "not possible" : "being written …"));
      return link;
    });
    const now = links.map((link) => link.outerHTML).join("");
    if (byId("light-files").dataset.now !== now) { byId("light-files").dataset.now = now; byId("light-files").replaceChildren(...links); }
    const operator = operatorOf(view.shown);
    byId("rendered-files").hidden = !operator;
    if (operator && byId("rendered-files").dataset.of !== operator.name) {
      byId("rendered-files").dataset.of = operator.name;
      byId("rendered-files").replaceChildren(...about.formats.map((format) => {
        const button = make("button");
        button.type = "button";
        button.dataset.format = format;
        button.append(make("span", "", FORMAT_NAMES[format] ?? format), make("small", "quiet", operator.name));
        button.onclick = () => take(operator.name, format);
        return button;
      }));
    }
    for (const button of byId("rendered-files").children) button.disabled = !complete;
    const waiting = Object.entries(current.renderings ?? {}).filter(([, state]) => state === "waiting").length;
    byId("making").textContent = waiting ? `Making ${waiting === 1 ? "the file" : `${waiting} files`} in full size …` : "";
    byId("kept").textContent = `Deleted in ${Math.max(1, Math.round(current.deleted_in / 60))} min unless you go on, or now:`;
  }

  async function take(operator, format) {
    const picture = current;
    try {
      const query = new URLSearchParams({ ...settings.get(operator), format });
      const { name } = await (await ask(addressOf(picture, `shown/${operator}?${query}`), { method: "POST" })).json();
      picture.wanted = [...(picture.wanted ?? []), name];
      picture.renderings = { ...picture.renderings, [name]: "waiting" };
      arrange();
      poll();
    } catch (error) { notice(`${picture.name}: ${error.message}`); }
  }

  // Save the files that are done.
  function deliver(picture) {
    for (const name of picture.wanted ?? []) {
      const state = picture.renderings?.[name];
      if (state === "waiting") continue;
      picture.wanted = picture.wanted.filter((one) => one !== name);
      if (state !== "ready") { notice(`${picture.name}: ${state ?? "is not there any more"}`); continue; }
      const link = make("a");
      link.href = assetOf(picture, name);
      link.download = "";
      link.click();
      tell(`${picture.name}: saved`);
    }
  }

  // ------------------------------------------------------------------------------------------ input

  function step(by) {
    if (pictures.length) choose(pictures[(pictures.indexOf(current) + by + pictures.length) % pictures.length]);
  }

  function stepTile(by) {
    const keys = keysOf();
    show(keys[(keys.indexOf(view.shown) + by + keys.length) % keys.length]);
  }

  function expose(stops) {
    view.stops = Math.min(Math.max(stops, -12), 12);
    view.screen = false;
    update();
  }

  function toggle(id, change) {
    if (byId(id).disabled) return;
    change();
    update();
  }
  const toggles = {
    wipe: () => toggle("wipe", () => { view.wipe = !view.wipe; }),
    clipped: () => toggle("clipped", () => { view.outline = !view.outline; }),
    mask: () => toggle("mask", () => { view.mask = !view.mask; }),
    colour: () => toggle("colour", () => { view.mode = view.mode === "light" ? "colour" : "light"; }),
    hdr: () => toggle("hdr", () => { view.screen = !view.screen; }),
  };
  for (const [id, act] of Object.entries(toggles)) byId(id).onclick = act;

  const pick = () => byId("files").click();
  const KEYS = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), ",": () => stepTile(-1), ".": () => stepTile(1),
    "[": () => expose(view.stops - 0.5), "-": () => expose(view.stops - 0.5), "]": () => expose(view.stops + 0.5), "+": () => expose(view.stops + 0.5),
    "=": () => expose(view.stops + 0.5), 0: () => expose(current.facts.stops), a: pick,
    w: toggles.wipe, c: toggles.clipped, m: toggles.mask, f: toggles.colour, h: toggles.hdr,
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, event.key)) return;
    if (event.target.matches?.("input, select, #divider") && event.key.startsWith("Arrow")) return;
    if (current?.state !== "ready" && !["ArrowLeft", "ArrowRight", "a"].includes(event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  byId("exposure").oninput = (event) => expose(Number(event.target.value));
  byId("exposure").ondblclick = byId("reset").onclick = () => expose(current.facts.stops);
  byId("defaults").onclick = () => { settings.delete(view.shown); delete byId("sliders").dataset.of; buildSliders(); request(); };
  byId("drop").onclick = byId("add").onclick = pick;
  byId("example").onclick = addExample;
  byId("files").onchange = (event) => { add(event.target.files); event.target.value = ""; };
  byId("delete").onclick = byId("give-up").onclick = () => remove(current);
  byId("delete-all").onclick = () => { for (const picture of [...pictures]) remove(picture); };
  makeDivider(byId("divider"), byId("frame"), () => view.split, (split) => { view.split = split; draw(); });

  byId("frame").addEventListener("pointermove", (event) => {
    const pixel = pixelUnder(canvas, event);
    if (!pixel || !current?.layers.has(LIGHT)) return;
    const parts = [...new Set([original(), LIGHT, view.shown])].filter((key) => current.layers.has(key));
    byId("readout").textContent = `${parts.map((key) => `${titleOf(key)} ${signed(stopsOf(current.layers.get(key))[pixel.index], 1)}`).join(" · ")} stops from white`;
  });
  byId("frame").addEventListener("pointerleave", () => { byId("readout").textContent = ""; });

  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const veil = (by) => { depth = Math.max(0, by ? depth + by : 0); byId("veil").hidden = !depth; };
  addEventListener("dragenter", (event) => { if (hasFiles(event)) veil(1); });
  addEventListener("dragleave", (event) => { if (hasFiles(event)) veil(-1); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil(0);
    add(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => { if (event.clipboardData?.files.length) add(event.clipboardData.files); });
  matchMedia("(dynamic-range: high)").addEventListener("change", update);

  // ------------------------------------------------------------------------------------------ start

  (async () => {
    try {
      await known;
      const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
      byId("photographs").textContent = about.photographs.join(", ");
      byId("scenes").textContent = about.scenes.join(", ");
      byId("terms").textContent = `Up to ${about.pictures} pictures of ${about.file_mb} MB and ${about.megapixels} megapixels. ${local ? "They stay on this computer" : "They are kept on this server alone"}, and are deleted ${about.minutes} min after you last used them, at once by a button, or when the server ends.`;
      await recall();
    } catch (error) { notice(error.message); }
  })();
})();
