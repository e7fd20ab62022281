// Object by object: matched or not, come and gone in time or not, and why not.
const VERDICTS = {
  no_candidate: 'the segmenter had no mask of it',
  not_taken: 'a candidate had it, but no anchor turned to it',
  removed: 'a newcomer had it and was turned away',
  accepted: 'it became a track that the results lose (another class or a low score)',
  not_traced: 'not known: no trace was given',
};
const verdictText = ({ verdict, rule }) => VERDICTS[verdict] + (rule ? ` by the rule “${rule}”` : '');

const mark = (kind, text, frame, tip) => make(frame === undefined ? 'span' : 'button', {
  class: `mark ${kind}`, text, title: tip,
  onclick: frame === undefined ? null : () => { state.layers.truth = true; changed('shown'); jump(frame, tip || text); },
});

function emergence(object) {
  const first = object.runs[0][0];
  if (!object.emerging) return mark('plain', 'from the start');
  if (object.missed) return mark('bad', `missed at ${first}`, first, verdictText(object));
  return mark('good', object.latency ? `found after ${plural(object.latency, 'frame')}` : 'found at once', first);
}

function departure(object) {
  const last = object.runs[object.runs.length - 1][1];
  if (!object.disappearing) return mark('plain', 'stays');
  return mark(object.left ? 'good' : 'bad', object.left ? 'let go' : 'not let go', Math.min(last, clip().frames - 1));
}

function ghosts(object) {
  return object.ghosts.length
    ? mark('warn', plural(object.ghosts.length, 'frame'), object.ghosts[0], `ghost from frame ${object.ghosts[0]}`)
    : mark('plain', '–');
}

function switches(object) {
  if (!object.reentries) return [mark('plain', '–')];
  if (!object.switches.length) return [mark('good', 'kept')];
  return object.switches.map(({ frame, before, after }) =>
    mark('bad', `#${before} → #${after}`, frame, `another track took over at frame ${frame}`));
}

function objectRow(object) {
  const track = object.track === null ? null : trackById(object.track);
  const swatch = track ? make('span', { class: 'dot', vars: { '--c': track.colour } }) : null;
  return make('tr', { 'data-class': object.name },
    make('th', { scope: 'row', text: `${object.id} ${object.name}` }),
    make('td', {}, track ? make('span', { class: 'who' }, swatch, title(track)) : mark('bad', 'none', object.runs[0][0], 'no track')),
    make('td', { class: 'number', text: track ? object.iou.toFixed(2) : '–' }),
    make('td', {}, emergence(object),
      object.missed ? make('small', { class: 'why', text: verdictText(object) }) : null),
    make('td', {}, departure(object)),
    make('td', {}, ghosts(object)),
    make('td', {}, ...switches(object)));
}

function tiles(rows) {
  return make('div', { class: 'tiles' }, ...rows.map(([value, text, kind]) =>
    make('div', { class: `tile ${kind || ''}` }, make('b', { text: value }), make('span', { text }))));
}

// A head that begins with > stands over numbers.
function table(heads, rows, label) {
  return make('div', { class: 'scroll' }, make('table', { 'aria-label': label },
    make('thead', {}, make('tr', {}, ...heads.map((text) => make('th', {
      scope: 'col', text: text.replace(/^>/, ''), class: text.startsWith('>') ? 'number' : null,
    })))),
    make('tbody', {}, ...rows)));
}

function buildTruth() {
  const { truth } = clip();
  $('truth').hidden = !truth;
  if (!truth) return;
  const { objects, unmatched } = truth;
  const sum = (of) => objects.reduce((total, object) => total + of(object), 0);
  const emerging = objects.filter((object) => object.emerging);
  const matched = sum((object) => object.track !== null);
  const missed = sum((object) => object.missed);
  const lost = sum((object) => object.ghosts.length);
  const switched = sum((object) => object.switches.length);
  const found = [`${matched} / ${objects.length}`, 'objects with a track', matched < objects.length ? 'bad' : 'good'];
  $('truth').replaceChildren(
    make('div', { class: 'card-head' }, make('h2', { text: 'Against the ground truth' })),
    tiles([found,
      [`${missed} / ${emerging.length}`, 'emergences missed', missed ? 'bad' : 'good'],
      [lost, 'ghost frames', lost ? 'warn' : 'good'],
      [switched, 'id switches', switched ? 'bad' : 'good'],
      [unmatched.length, 'tracks without an object', unmatched.length ? 'warn' : 'good']]),
    table(['Object', 'Track', '>IoU', 'Emergence', 'Disappearance', 'Ghosts', 'Id after a gap'],
      objects.map(objectRow), 'Objects of the ground truth'),
    unmatched.length ? make('p', { class: 'faint' }, 'Tracks without an object: ',
      unmatched.map((id) => title(trackById(id))).join(', '), '.') : '');
  filterTruth();
}

function filterTruth() {
  document.querySelectorAll('#truth tr[data-class]').forEach((one) => { one.hidden = !admitted(one.dataset.class); });
}

function startTruth() {
  on('clip', buildTruth);
  on('shown', filterTruth);
}
