// Training curves: one small chart a figure, one line a run.
const WIDE = 380;
const HIGH = 190;
const PAD = { left: 46, right: 10, top: 8, bottom: 24 };
const training = { smooth: 0.6, log: false, layers: false, off: new Set() };

const PARTS = [
  ['Losses', (name) => /loss/.test(name)],
  ['Validation', (name) => name.includes('/')],
  ['Optimisation', (name) => /^(lr|grad_norm)/.test(name)],
  ['Speed and memory', (name) => /time|mem/.test(name)],
  ['Other', () => true],
];
const perLayer = (name) => /loss.*_\d+$/.test(name);
const runsWith = (name) => data.runs.map((run, n) => ({ ...run, n, curve: run.curves[name] }))
  .filter(({ curve, n }) => curve && !training.off.has(n));

function smoothed(curve, weight) {
  let mean = null;
  let trust = 0;
  return curve.map(([at, value]) => {
    if (value === null) return [at, null];
    mean = weight * (mean || 0) + (1 - weight) * value;
    trust = weight * trust + (1 - weight);
    return [at, mean / trust]; // without the pull of the start towards 0
  });
}

function niceTicks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-6; t += step) ticks.push(t);
  return ticks;
}

const short = (value) => {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(size < 1e-3 && value.toPrecision(2).includes('.') ? 1 : 0);
  return String(Number(value.toPrecision(3)));
};

function scales(runs, log) {
  const points = runs.flatMap(({ curve }) => curve).filter(([, y]) => y !== null && (!log || y > 0));
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => (log ? Math.log10(y) : y));
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  if (!points.length) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - Math.abs(low) * 0.1 - 1e-9, high + Math.abs(high) * 0.1 + 1e-9];
  const room = (high - low) * 0.05;
  [low, high] = [!log && low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  const [from, to] = xs.length ? [Math.min(...xs), Math.max(...xs, Math.min(...xs) + 1)] : [0, 1];
  return {
    low, high, from, to,
    x: (value) => PAD.left + ((value - from) / (to - from)) * (WIDE - PAD.left - PAD.right),
    y: (value) => HIGH - PAD.bottom - (((log ? Math.log10(value) : value) - low) / (high - low)) * (HIGH - PAD.top - PAD.bottom),
  };
}

function linePath(curve, { x, y }, log) {
  let pen = 'M';
  return curve.map(([at, value]) => {
    if (value === null || (log && value <= 0)) { pen = 'M'; return ''; }
    const step = `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = 'L';
    return step;
  }).join('');
}

function grid(to, log) {
  const across = niceTicks(to.low, to.high, 4).map((tick) => {
    const value = log ? 10 ** tick : tick;
    return draw('g', { transform: `translate(0 ${to.y(value).toFixed(1)})` },
      draw('line', { x1: PAD.left, x2: WIDE - PAD.right }),
      draw('text', { x: PAD.left - 6, y: 3.5, 'text-anchor': 'end', text: short(value) }));
  });
  const along = niceTicks(to.from, to.to, 5).map((tick) => draw('text', {
    x: to.x(tick).toFixed(1), y: HIGH - 7, 'text-anchor': 'middle', text: short(tick),
  }));
  return draw('g', { class: 'grid' }, ...across, ...along);
}

function lineOf({ curve, n }, to, log, weight) {
  const colour = { '--c': `var(--run${n % 6})` };
  const good = curve.filter(([, value]) => value !== null);
  if (good.length === 1) {
    return [draw('circle', { class: 'point', cx: to.x(good[0][0]), cy: to.y(good[0][1]), r: 3.5, vars: colour })];
  }
  const raw = draw('path', { class: weight ? 'line raw' : 'line', d: linePath(curve, to, log), vars: colour });
  if (!weight) return [raw];
  return [raw, draw('path', { class: 'line', d: linePath(smoothed(curve, weight), to, log), vars: colour })];
}

function chart(name) {
  const runs = runsWith(name);
  const log = training.log && runs.every(({ curve }) => curve.some(([, value]) => value > 0));
  const to = scales(runs, log);
  const weight = name.startsWith('lr') ? 0 : training.smooth; // a schedule has no noise
  const cursor = draw('line', { class: 'cursor', y1: PAD.top, y2: HIGH - PAD.bottom, x1: -9, x2: -9 });
  const picture = draw('svg', {
    viewBox: `0 0 ${WIDE} ${HIGH}`, tabindex: 0, role: 'img',
    'aria-label': `${name}: ${runs.map(({ name: run, curve }) => `${run} ends at ${short(lastOf(curve))}`).join(', ')}`,
  }, grid(to, log), ...runs.flatMap((run) => lineOf(run, to, log, weight)), cursor);
  const values = make('figcaption', {}, make('b', { text: name }), make('span', { class: 'values' }));
  readOut(picture, values.lastChild, runs, to, cursor);
  return make('figure', { class: 'chart', 'data-name': name }, values, picture);
}

const lastOf = (curve) => curve.reduce((last, [, value]) => (value === null ? last : value), 0);

// Values under the pointer, or under the cursor that the arrow keys move.
function readOut(picture, output, runs, to, cursor) {
  let at = to.to;
  const show = (value, moving) => {
    at = Math.max(to.from, Math.min(to.to, value));
    cursor.setAttribute('x1', moving ? to.x(at) : -9);
    cursor.setAttribute('x2', moving ? to.x(at) : -9);
    output.replaceChildren(...runs.map(({ curve, n }) => make('i', {
      text: short(nearest(curve, at)), vars: { '--c': `var(--run${n % 6})` },
    })), moving ? make('small', { text: `at ${Math.round(at)}` }) : '');
  };
  picture.addEventListener('pointermove', (event) => {
    const area = picture.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width) * WIDE;
    show(to.from + ((x - PAD.left) / (WIDE - PAD.left - PAD.right)) * (to.to - to.from), true);
  });
  picture.addEventListener('pointerleave', () => show(to.to, false));
  picture.addEventListener('blur', () => show(to.to, false));
  picture.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    show(at + (step * (to.to - to.from)) / 40, true);
  });
  show(to.to, false);
}

function nearest(curve, at) {
  const good = curve.filter(([, value]) => value !== null);
  return good.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best), good[0] || [0, 0])[1];
}

function buildCharts() {
  const names = [...new Set(data.runs.flatMap(({ curves }) => Object.keys(curves)))]
    .filter((name) => name !== 'eta_seconds' && runsWith(name).length && (training.layers || !perLayer(name)));
  names.sort((a, b) => (b === 'total_loss') - (a === 'total_loss') || a.localeCompare(b, 'en', { numeric: true }));
  const left = new Set(names);
  $('charts').replaceChildren(...PARTS.flatMap(([text, belongs]) => {
    const mine = [...left].filter(belongs);
    mine.forEach((name) => left.delete(name));
    if (!mine.length) return [];
    const single = mine.every((name) => runsWith(name).every(({ curve }) => curve.length < 2));
    return [card(text, single ? lastValues(mine) : make('div', { class: 'charts' }, ...mine.map(chart)))];
  }));
}

// What was measured once is a number a run.
function lastValues(names) {
  const found = names.map((name) => [name, runsWith(name).filter(({ curve }) => curve[0][1] !== null)])
    .filter(([, runs]) => runs.length);
  return make('div', { class: 'tiles' }, ...found.map(([name, runs]) => make('div', { class: 'tile' },
    make('b', {}, ...runs.map(({ curve, n }) => make('i', {
      text: short(lastOf(curve)), vars: { '--c': `var(--run${n % 6})` },
    }))), make('span', { text: name }))));
}

function startCharts() {
  if (!data.runs.length) return;
  const runs = data.runs.map(({ name }, n) => make('button', {
    class: 'chip', 'aria-pressed': 'true', vars: { '--c': `var(--run${n % 6})` },
    onclick: (event) => {
      toggle(training.off, n, 'shown');
      event.currentTarget.setAttribute('aria-pressed', !training.off.has(n));
      buildCharts();
    },
  }, make('span', { class: 'dot' }), make('span', { text: name })));
  const smooth = make('input', { type: 'range', min: 0, max: 0.95, step: 0.05, value: training.smooth, id: 'smooth',
    oninput: (event) => { training.smooth = Number(event.target.value); buildCharts(); } });
  const option = (key, text) => make('button', { class: 'chip', 'aria-pressed': String(training[key]), text, 'data-option': key,
    onclick: (event) => {
      training[key] = !training[key];
      event.currentTarget.setAttribute('aria-pressed', training[key]);
      buildCharts();
    } });
  const layered = data.runs.some(({ curves }) => Object.keys(curves).some(perLayer));
  $('panel-training').append(
    make('div', { class: 'card row-tools' }, make('div', { class: 'chips', role: 'group', 'aria-label': 'Runs' }, ...runs),
      make('label', { class: 'quiet' }, 'Smoothing ', smooth),
      make('div', { class: 'chips' }, option('log', 'Log scale'), layered ? option('layers', 'Every decoder layer') : null)),
    make('div', { id: 'charts' }));
  buildCharts();
}
