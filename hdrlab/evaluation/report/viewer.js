"use strict";
/* What looking into HDR images takes, in any page: decoded copies, exposures, false colours, wipes and charts.
   A layer is a copy of an image: { width, height, codes (RGBA), light (what each code stands for), fixed (whether
   it is a display image, in sRGB levels, to which no exposure applies) }. */
const hdrViewer = (() => {
  const make = (tag, className = "", text = "") => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text) element.textContent = text;
    return element;
  };
  const signed = (value, digits = 2) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

  // ------------------------------------------------------------------------------------------ copies

  const fromSrgb = (shown) => (shown <= 0.04045 ? shown / 12.92 : ((shown + 0.055) / 1.055) ** 2.4);
  const toSrgb = (light) => (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055);

  async function pixelsOf(src) {
    const picture = new Image();
    picture.src = src;
    await picture.decode();
    const [width, height] = [picture.naturalWidth, picture.naturalHeight];
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    return { width, height, codes: context.getImageData(0, 0, width, height).data };
  }

  // The light of each of `count` codes: logarithmic where a span in stops is given, else sRGB.
  function lightOf({ floor, span }, count = 256) {
    return Float32Array.from({ length: count }, (_, q) =>
      span ? floor * (2 ** ((q / (count - 1)) * span) - 1) : fromSrgb(q / (count - 1)));
  }

  function levelsOf(layer, stops) {
    return Uint8ClampedArray.from(layer.light, (light) => 255 * toSrgb(Math.min(light * 2 ** stops, 1)));
  }

  function stopsOf(layer) {
    if (!layer.stops) {
      const { codes, light } = layer;
      layer.stops = new Float32Array(codes.length / 4);
      for (let i = 0; i < layer.stops.length; i++) {
        const [red, green, blue] = [light[codes[4 * i]], light[codes[4 * i + 1]], light[codes[4 * i + 2]]];
        const luminance = 0.212656 * red + 0.715158 * green + 0.072186 * blue;
        layer.stops[i] = Math.log2(Math.max(luminance, 2 ** -40));
      }
    }
    return layer.stops;
  }

  // Whole stops between which an image's luminance lies, from a quarter of a million of its pixels.
  function limitsOf(layer) {
    const step = Math.ceil(stopsOf(layer).length / 2 ** 18);
    const sorted = stopsOf(layer).filter((_, i) => i % step === 0).sort();
    const low = Math.floor(sorted[Math.floor(sorted.length * 0.005)]);
    const high = Math.ceil(sorted[Math.floor(sorted.length * 0.9995)]);
    return [Math.max(low, high - 24), Math.max(high, low + 2)];
  }

  // ------------------------------------------------------------------------------------------ pixels

  const FALSE_COLOURS = ["#0b0720", "#2b1a6b", "#2f4fb5", "#1f8fae", "#24a876", "#7cc043", "#e3cf34", "#f39a2b", "#e2502c", "#c22a6e", "#ffd9ea"];
  const ERROR_COLOURS = ["#0a2a6b", "#2b6fc4", "#8fbde6", "#f1f1ef", "#f2b48b", "#cf4a33", "#6e0d1e"];

  function ramp(colours) {
    const table = new Uint8ClampedArray(256 * 3);
    const parts = colours.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
    for (let i = 0; i < 256; i++) {
      const place = (i / 255) * (parts.length - 1);
      const before = Math.min(Math.floor(place), parts.length - 2);
      for (let c = 0; c < 3; c++)
        table[3 * i + c] = parts[before][c] + (place - before) * (parts[before + 1][c] - parts[before][c]);
    }
    return table;
  }
  const falseRamp = ramp(FALSE_COLOURS);
  const errorRamp = ramp(ERROR_COLOURS);

  // Fill the columns [from, to) of an image's pixels; view: mode, stops, limits, range and reference.
  function shade(view, layer, data, from, to) {
    const { width, height, codes } = layer;
    if (view.mode === "light" && layer.fixed) {
      for (let y = 0; y < height; y++) data.set(codes.subarray(4 * (y * width + from), 4 * (y * width + to)), 4 * (y * width + from));
      return;
    }
    if (view.mode === "light") {
      const levels = levelsOf(layer, view.stops);
      for (let y = 0; y < height; y++)
        for (let i = 4 * (y * width + from), end = 4 * (y * width + to); i < end; i += 4) {
          data[i] = levels[codes[i]];
          data[i + 1] = levels[codes[i + 1]];
          data[i + 2] = levels[codes[i + 2]];
          data[i + 3] = 255;
        }
      return;
    }
    const error = view.mode === "error";
    const stops = stopsOf(layer);
    const against = error ? stopsOf(view.reference) : null;
    const [low, high] = error ? [-view.range, view.range] : view.limits;
    const table = error ? errorRamp : falseRamp;
    for (let y = 0; y < height; y++)
      for (let i = y * width + from, end = y * width + to; i < end; i++) {
        const value = error ? stops[i] - against[i] : stops[i];
        const at = 3 * Math.round(255 * Math.min(Math.max((value - low) / (high - low), 0), 1));
        data[4 * i] = table[at];
        data[4 * i + 1] = table[at + 1];
        data[4 * i + 2] = table[at + 2];
        data[4 * i + 3] = 255;
      }
  }

  function outlineClipped({ width, height, codes }, data) {
    const clipped = (i) => codes[4 * i] > 127;
    for (let y = 1; y < height - 1; y++)
      for (let x = 1; x < width - 1; x++) {
        const i = y * width + x;
        if (!clipped(i) || (clipped(i - 1) && clipped(i + 1) && clipped(i - width) && clipped(i + width))) continue;
        data.set([255, 0, 200, 255], 4 * i);
      }
  }

  // ------------------------------------------------------------------------------------------ charts

  function svg(tag, attributes, text = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  }

  function drawLegend(legend, { mode, limits, range }) {
    legend.hidden = mode === "light";
    if (legend.hidden) return;
    const error = mode === "error";
    const [low, high] = error ? [-range, range] : limits;
    const colours = error ? ERROR_COLOURS : FALSE_COLOURS;
    const strip = make("i");
    strip.style.background = `linear-gradient(90deg, ${colours.join(",")})`;
    const step = error ? range / 2 : high - low > 14 ? 4 : high - low > 7 ? 2 : 1;
    const ticks = [];
    for (let at = error ? low : Math.ceil(low / step) * step; at <= high + 1e-9; at += step) {
      const text = at ? signed(at, Number.isInteger(at) ? 0 : 2) : error ? "0" : "white";
      const unit = error && at === low ? " too dark" : error && at === high ? " too bright" : "";
      const tick = make("span", "", text + unit);
      tick.style.left = `${(100 * (at - low)) / (high - low)}%`;
      ticks.push(tick);
    }
    legend.replaceChildren(strip, ...ticks);
    legend.title = error ? "Luminance against the reference, in stops" : "Luminance in stops from white";
  }

  function series(names) {
    const box = make("div", "series");
    for (const [name, colour] of names) {
      const item = make("span");
      const swatch = make("span", "swatch");
      swatch.style.setProperty("--swatch", colour);
      item.append(swatch, name);
      box.append(item);
    }
    return box;
  }

  // A histogram of luminance; parts: { layer, title, stroke }, or without a stroke an area.
  function drawHistogram(box, parts, limits) {
    const [width, height] = [300, 130];
    const [low, high] = [limits[0] - 1, limits[1] + 1];
    const bins = Math.round((high - low) * 4);
    const x = (stops) => ((stops - low) / (high - low)) * width;
    const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Histogram of luminance in stops" });
    const step = high - low > 16 ? 4 : 2;
    for (let at = Math.ceil(low / step) * step; at < high; at += step) {
      chart.append(svg("line", { x1: x(at), x2: x(at), y1: 0, y2: height - 14, class: at ? "grid" : "white" }));
      if (x(at) > 8 && x(at) < width - 8)
        chart.append(svg("text", { x: x(at), y: height - 3, "text-anchor": "middle" }, at ? signed(at, 0) : "white"));
    }
    const outline = (layer) => {
      const counts = new Float64Array(bins);
      const stops = stopsOf(layer);
      for (const value of stops) {
        const bin = Math.floor((value - low) * 4);
        if (bin >= 0 && bin < bins) counts[bin] += 1;
      }
      const full = Math.log(1 + stops.length / 4);
      const points = [...counts].map((count, k) => {
        const y = height - 14 - (Math.min(Math.log(1 + count) / full, 1) * (height - 20));
        return `${x(low + k / 4).toFixed(1)},${y.toFixed(1)} ${x(low + (k + 1) / 4).toFixed(1)},${y.toFixed(1)}`;
      });
      return `M0,${height - 14} L${points.join(" ")} L${width},${height - 14}`;
    };
    const areasFirst = [...parts].sort((a, b) => Boolean(a.stroke) - Boolean(b.stroke));
    for (const { layer, stroke } of areasFirst)
      chart.append(svg("path", { d: outline(layer), ...(stroke ? { stroke } : { class: "area" }) }));
    box.replaceChildren(chart, series(parts.map(({ title, stroke }) => [title, stroke ?? "var(--quiet)"])));
  }

  // Inverse response curves; parts: { values, title, stroke, faint }, or without a stroke the true one.
  function drawCurves(box, parts) {
    const [width, height, edge] = [300, 190, 5];
    const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Response curves" });
    for (const part of [0.25, 0.5, 0.75]) {
      chart.append(svg("line", { x1: part * width, x2: part * width, y1: 0, y2: height, class: "grid" }));
      chart.append(svg("line", { x1: 0, x2: width, y1: part * height, y2: part * height, class: "grid" }));
    }
    for (const { values, stroke, faint } of parts) {
      const points = values.map((value, k) => {
        const right = edge + (k / (values.length - 1)) * (width - 2 * edge);
        return `${right.toFixed(1)},${(height - edge - Math.min(Math.max(Number(value), -0.05), 1.1) * (height - 2 * edge)).toFixed(1)}`;
      });
      const look = stroke ? { stroke, class: faint ? "faint" : "" } : { class: "true" };
      chart.append(svg("path", { d: `M${points.join(" L")}`, ...look }));
    }
    box.replaceChildren(chart, series(parts.map(({ title, stroke }) => [title, stroke ?? "currentColor"])));
  }

  // ------------------------------------------------------------------------------------------ the wipe

  // Let a divider be moved within a frame by pointer and keys; `moved` gets its place in [0, 1].
  function makeDivider(divider, frame, place, moved) {
    const to = (share) => moved(Math.min(Math.max(share, 0), 1));
    const slide = (event) => {
      const box = frame.getBoundingClientRect();
      to((event.clientX - box.left) / box.width);
    };
    divider.onpointerdown = (event) => { divider.setPointerCapture(event.pointerId); event.preventDefault(); divider.focus(); };
    divider.onpointermove = (event) => { if (divider.hasPointerCapture(event.pointerId)) slide(event); };
    divider.onkeydown = (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      event.preventDefault();
      to(place() + (event.key === "ArrowLeft" ? -0.02 : 0.02));
    };
  }

  function showDivider(divider, shown, share) {
    divider.hidden = !shown;
    divider.style.left = `${100 * share}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * share));
  }

  // The pixel of a canvas under a pointer, or null beside it.
  function pixelUnder(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
    return x < 0 || y < 0 || x >= canvas.width || y >= canvas.height ? null : { x, index: y * canvas.width + x };
  }

  return {
    make, signed, pixelsOf, lightOf, stopsOf, limitsOf, shade, outlineClipped, drawLegend, drawHistogram, drawCurves,
    makeDivider, showDivider, pixelUnder,
  };
})();
