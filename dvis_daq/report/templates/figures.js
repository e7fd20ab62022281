// Figures of the whole data set: AP, classes, events, and why emergences were missed.
const GROUPS = [
  ['Average precision', ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AP_light', 'AP_medium', 'AP_heavy']],
  ['Average recall', ['AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl', 'AR_light', 'AR_medium', 'AR_heavy']],
];
const KNOWN = new Set(GROUPS.flatMap(([, names]) => names));

// A share as a bar and a number.
const measured = (value, text, kind = '') => make('td', { class: 'number' },
  make('div', { class: `meter ${kind}`, 'aria-hidden': 'true' }, make('div', { vars: { '--long': `${100 * (value || 0)}%` } })),
  make('span', { text }));
const number = (text) => make('td', { class: 'number', text });
const rowHead = (text, ...cells) => make('tr', {}, make('th', { scope: 'row', text }), ...cells);

function grouped(figures) {
  const others = Object.keys(figures).filter((name) => !KNOWN.has(name)
    && (figures[name] === null || typeof figures[name] === 'number'));
  return [...GROUPS, ['Other figures', others]].map(([text, names]) => [text, names.filter((name) => name in figures)])
    .filter(([, names]) => names.length)
    .map(([text, names]) => card(text, tiles(names.map((name) => [percent(figures[name]), name.replace('_', ' ')]))));
}

const card = (text, ...content) => make('div', { class: 'card' }, make('h2', { text }), ...content);

// A row of figures, the first of them with a bar.
const rowOf = (text, row, names) => rowHead(text, ...names.map((name, n) =>
  (n ? number(percent(row[name])) : measured(row[name], percent(row[name])))));

function classCard(perClass) {
  const rows = Object.values(perClass);
  const names = Object.keys(rows[0] || {}).filter((key) => !['name', 'isthing'].includes(key));
  rows.sort((a, b) => (b[names[0]] ?? -1) - (a[names[0]] ?? -1) || String(a.name).localeCompare(b.name));
  return card('By class', table(['Class', ...names.map((name) => `>${name}`)],
    rows.map((row) => rowOf(row.name, row, names)), 'Figures by class'));
}

const RATES = [
  ['emergence_recall', 'emergences found within two frames', 'emerging_hit', 'emerging'],
  ['disappearance_recall', 'disappearances let go', 'disappearing_hit', 'disappearing'],
  ['ghost_rate', 'ghost frames', 'ghost_frames', 'absent_frames', 'low'],
  ['id_switch_rate', 'id switches after a gap', 'id_switches', 'reentries', 'low'],
];
const OF_FLAGS = ['AP', 'AP50', 'AP75', 'AR10'];

function eventsCard({ presence, ap }) {
  const rates = RATES.map(([key, text, part, whole, kind]) => rowHead(text,
    measured(presence[key], percent(presence[key]), kind), number(`${presence[part]} of ${presence[whole]}`)));
  const flags = Object.entries(ap).map(([flag, row]) => rowOf(flag === 'ed' ? 'any of these' : flag, row, OF_FLAGS));
  const latency = presence.latency_mean;
  return card('Objects that come and go',
    table(['Assigned tracks', '>%', '>'], rates, 'How tracks come and go'),
    make('p', { class: 'faint gap', text: latency === null ? 'No emerging object was hit.'
      : `First hit ${latency.toFixed(2)} frames after the object appears (mean of ${presence.latency_known}).` }),
    table(['AP of objects', ...OF_FLAGS.map((name) => `>${name}`)], flags, 'AP of objects with events'));
}

function missedCard(missed) {
  const counts = new Map();
  missed.forEach(({ verdict }) => counts.set(verdict, (counts.get(verdict) || 0) + 1));
  const rows = [...counts].sort((a, b) => b[1] - a[1]).map(([verdict, count]) =>
    rowHead(VERDICTS[verdict] || verdict, measured(count / missed.length, count, 'low')));
  return card(`Missed emergences (${missed.length})`, table(['Why', '>Number'], rows, 'Reasons'),
    make('details', {}, make('summary', { text: 'One by one' }),
      table(['Video', 'Object', 'Frame', 'Why'], missed.map(missedRow), 'Missed emergences')));
}

function missedRow(event) {
  const index = data.clips.findIndex(({ truth }) => truth && truth.video === event.video_id);
  const there = index < 0 ? make('span', { text: event.frame }) : make('button', {
    class: 'mark plain', text: event.frame, title: 'Watch it',
    onclick: () => { openTab('video'); state.layers.truth = true; openClip(index, event.frame); },
  });
  return make('tr', {}, make('td', { text: event.video_id }), make('td', { text: event.object_id }),
    make('td', {}, there), make('td', { text: verdictText(event) }));
}

function startFigures() {
  const { figures } = data;
  if (!figures) return;
  const { counts } = figures;
  const made = [];
  if (counts) made.push(make('p', { class: 'summary' }, ...Object.entries(counts).map(([name, count]) =>
    make('span', {}, make('b', { text: count }), ` ${count === 1 ? name.replace(/s$/, '') : name}`))));
  made.push(make('div', { class: 'columns' }, ...grouped(figures)));
  const columns = [];
  if (figures.per_class) columns.push(classCard(figures.per_class));
  if (figures.events && figures.events.presence) columns.push(eventsCard(figures.events));
  if (figures.missed_emergences) columns.push(missedCard(figures.missed_emergences));
  made.push(make('div', { class: 'columns' }, ...columns));
  $('panel-evaluation').append(...made);
}
