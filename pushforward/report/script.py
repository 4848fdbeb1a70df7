"""The page's script: gives charts the theme's colours, draws clouds and films, plays, copies. Plain JavaScript."""

SCRIPT = """
(() => {
"use strict";
const root = document.documentElement;
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const json = element => JSON.parse(element.querySelector("script[type='application/json']").textContent);

const pointing = matchMedia("(hover: hover)").matches;

const colour = token => {
  const [name, alpha] = token.split("/");
  const hex = getComputedStyle(root).getPropertyValue("--" + name).trim();
  if (!alpha) return hex;
  const part = i => parseInt(hex.slice(i, i + 2), 16);
  return `rgba(${part(1)}, ${part(3)}, ${part(5)}, ${alpha})`;
};

// Charts. Colours come as "@c0" or "@c0/0.3", under keys that end in "color".
const painted = (value, key = "") => {
  if (typeof value === "string") return /color$/.test(key) && value[0] === "@" ? colour(value.slice(1)) : value;
  if (Array.isArray(value)) return typeof value[0] === "object" ? value.map(item => painted(item)) : value;
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, k)]));
};
const charts = all(".plot").map(element => [element, json(element)]);
const plot = () => charts.forEach(([element, figure]) => {
  const layout = painted(figure.layout);
  Object.assign(layout, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: { color: colour("soft"), size: 12, family: getComputedStyle(document.body).fontFamily },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("ink") },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") } },
  });
  // On a touch screen a finger that scrolls past must not zoom.
  if (!pointing) layout.dragmode = false;
  const options = {
    displaylogo: false, displayModeBar: pointing ? "hover" : false, showTips: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };
  Plotly.react(element, painted(figure.data), layout, options);
});

// Clouds of points: 16-bit coordinates inside an extent, fainter where they crowd.
const decoded = new Map();
const unpack = text => {
  if (!decoded.has(text)) {
    const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
    const view = new DataView(bytes.buffer), xy = new Float32Array(bytes.length / 2), crowd = {};
    for (let i = 0; i < xy.length; i++) xy[i] = view.getUint16(2 * i, true) / 65535;
    const cell = i => Math.floor(xy[i] * 48) * 64 + Math.floor(xy[i + 1] * 48);
    for (let i = 0; i < xy.length; i += 2) crowd[cell(i)] = (crowd[cell(i)] || 0) + 1;
    const alpha = xy.map((_, i) => i % 2 ? 0 : Math.min(0.9, Math.max(0.2, 1.8 / Math.sqrt(crowd[cell(i)]))));
    decoded.set(text, [xy, alpha]);
  }
  return decoded.get(text);
};
const ticks = (low, high) => {
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw);
  const count = Math.floor(high / step) - Math.ceil(low / step) + 1;
  return Array.from({ length: count }, (_, i) => Number(((Math.ceil(low / step) + i) * step).toPrecision(6)));
};
const draw = (canvas, clouds, extent) => {
  const size = canvas.clientWidth, dense = window.devicePixelRatio || 1;
  if (!size) return;
  canvas.width = canvas.height = Math.round(size * dense);
  const pen = canvas.getContext("2d");
  pen.scale(dense, dense);
  const at = [t => t * size, t => (1 - t) * size];
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  [0, 1].forEach(axis => ticks(extent[2 * axis], extent[2 * axis + 1]).forEach(value => {
    const place = at[axis]((value - extent[2 * axis]) / (extent[2 * axis + 1] - extent[2 * axis]));
    pen.fillStyle = colour("line");
    pen.fillRect(axis ? 0 : Math.round(place), axis ? Math.round(place) : 0, axis ? size : 1, axis ? 1 : size);
    if (place < 24 || place > size - 24) return;
    pen.fillStyle = colour("soft");
    if (axis) pen.fillText(value, 6, place - 4); else pen.fillText(value, place + 4, size - 6);
  }));
  for (const cloud of clouds) {
    const [xy, alpha] = unpack(cloud.xy);
    pen.fillStyle = colour(cloud.colour);
    for (let i = 0; i < xy.length; i += 2) {
      pen.globalAlpha = alpha[i];
      pen.beginPath();
      pen.arc(at[0](xy[i]), at[1](xy[i + 1]), size < 400 ? 1.6 : 2.2, 0, 7);
      pen.fill();
    }
  }
};
const panels = all(".panel").map(element => {
  const data = json(element), canvas = element.querySelector("canvas");
  return () => draw(canvas, data.clouds, data.extent);
});

// Films: a slider and a button over frames, whose pictures are sheets of tiles or clouds.
const films = all(".player").map(element => {
  const data = json(element), tiles = all("canvas", element);
  const slider = element.querySelector("input"), button = element.querySelector("button");
  const output = element.querySelector("output");
  const sheets = data.kind === "images" ? data.frames.map(frame => {
    const sheet = new Image();
    sheet.src = frame.sheet;
    return sheet;
  }) : [];
  let timer = null;
  const show = async () => {
    const i = Number(slider.value), frame = data.frames[i];
    let said = `${frame.seen} examples`;
    if (data.kind === "points") {
      draw(tiles[0], [...data.behind, frame.cloud], data.extent);
      if (frame.cloud.outside) said += `, ${frame.cloud.outside} of ${frame.cloud.of} points outside`;
    } else {
      await sheets[i].decode();
      if (Number(slider.value) !== i) return;
      tiles.forEach((tile, k) => {
        const x = k % data.columns * tile.width, y = Math.floor(k / data.columns) * tile.height;
        tile.getContext("2d").drawImage(
          sheets[i], x, y, tile.width, tile.height, 0, 0, tile.width, tile.height);
      });
    }
    output.textContent = said;
    slider.setAttribute("aria-valuetext", said);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  slider.addEventListener("input", () => { if (timer) stop(); show(); });
  if (button) button.addEventListener("click", () => {
    if (timer) return stop();
    if (slider.value === slider.max) slider.value = 0;
    show();
    button.textContent = "Pause";
    timer = setInterval(() => {
      if (slider.value === slider.max) return stop();
      slider.value = Number(slider.value) + 1;
      show();
    }, 300);
  });
  return show;
});

for (const button of all(".copy")) {
  const code = button.parentElement.querySelector("code");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Without leave for the clipboard, the text is selected, and the keyboard can copy it.
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

const clouds = () => [...panels, ...films].forEach(show => show());
const paint = () => { plot(); clouds(); };
paint();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
addEventListener("resize", clouds);
const fit = new ResizeObserver(entries => entries.forEach(entry => Plotly.Plots.resize(entry.target)));
charts.forEach(([element]) => fit.observe(element));
addEventListener("beforeprint", () => { root.dataset.print = ""; paint(); });
addEventListener("afterprint", () => { delete root.dataset.print; paint(); });
})();
"""
