// A row a track: when it was born, hidden, back and gone, and how sure the model was.
const ORDERS = {
  born: (a, b) => a.born - b.born || a.id - b.id,
  score: (a, b) => b.score - a.score,
  name: (a, b) => a.name.localeCompare(b.name) || a.born - b.born,
  long: (a, b) => seen(b) - seen(a),
};
const seen = (track) => track.spans.reduce((sum, [kind, from, to]) =>
  sum + (kind === 'visible' ? to - from : 0), 0);

const share = (frames) => `${(100 * frames) / clip().frames}%`;
const place = (from, to) => ({ '--from': share(from), '--long': share(to - from) });
const span = (from, to) => (to - from === 1 ? `frame ${from}` : `frames ${from}–${to - 1}`);

function buildTimeline() {
  const tracks = [...clip().tracks].sort(ORDERS[$('order').value]);
  const lost = clip().truth ? clip().truth.objects.filter((object) => object.track === null) : [];
  $('timeline').style.setProperty('--step', share(1));
  $('timeline').classList.toggle('with-truth', Boolean(clip().truth));
  $('timeline').replaceChildren(axis(), ...tracks.map(trackRow), ...lost.map(lostRow));
  rove(document.querySelector('#timeline .row'));
  showListed();
}

function axis() {
  const last = clip().frames;
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((n) => last / n <= 14) || 1e4;
  const ticks = [];
  for (let t = 0; t < last; t += step) ticks.push(make('span', { text: t, vars: place(t, t + 1) }));
  const cuts = clip().cuts.map((t) => make('span', { class: 'cut', title: `cut before frame ${t}`, vars: place(t, t + 1) }));
  const lane = make('div', { class: 'lane', title: 'Drag to move through the video' }, ...ticks, ...cuts);
  const seek = (event) => {
    const area = lane.getBoundingClientRect();
    pause();
    goTo(Math.floor(((event.clientX - area.left) / area.width) * clip().frames));
  };
  lane.addEventListener('pointerdown', (event) => { lane.setPointerCapture(event.pointerId); seek(event); });
  lane.addEventListener('pointermove', (event) => { if (event.buttons) seek(event); });
  return make('div', { class: 'axis' }, make('div', { class: 'head', text: 'frame' }), lane);
}

function trackRow(track) {
  const object = clip().truth && clip().truth.objects.find((one) => one.track === track.id);
  const extra = clip().truth && clip().truth.unmatched.includes(track.id);
  const eye = make('button', {
    class: 'eye', 'aria-label': `Show ${title(track)}`, title: 'Show or hide',
    onclick: () => toggle(state.hidden, track.id),
  }, icon('eye'));
  const name = make('button', {
    class: 'name', title: `Jump to frame ${track.born}`, onclick: () => jump(track.born, `${title(track)} is born`),
  }, make('b', { text: `#${track.id}` }), make('span', { text: track.name }), make('i', { text: track.score.toFixed(2) }));
  const parts = [...track.spans.map((one, n) => bar(track, one, n)), ...strip(track, object, extra)];
  return row({ 'data-track': track.id, vars: { '--c': track.colour } }, [eye, name],
    [...(object ? truthBars(object) : []), ...parts]);
}

function lostRow(object) {
  const name = make('button', {
    class: 'name', title: `Jump to frame ${object.runs[0][0]}`,
    onclick: () => { state.layers.truth = true; changed('shown'); jump(object.runs[0][0], 'an object without a track'); },
  }, make('span', { text: object.name }), make('i', { text: 'no track' }));
  return row({ 'data-object': object.id, class: 'row lost' }, [make('span', { class: 'eye' }), name],
    [...truthBars(object), ...strip(null, object, false)]);
}

function row(attributes, head, lane) {
  const made = make('div', { class: 'row', ...attributes },
    make('div', { class: 'head' }, ...head), make('div', { class: 'lane' }, ...lane));
  const id = 'data-track' in attributes ? attributes['data-track'] : null;
  made.addEventListener('pointerenter', () => setFocus(id));
  made.addEventListener('pointerleave', () => setFocus(null));
  made.addEventListener('focusin', () => { rove(made); setFocus(id); });
  return made;
}

function bar(track, [kind, from, to], n) {
  const last = n === track.spans.length - 1;
  const marks = [n === 0 && track.born > 0 ? 'born' : '', last && to < clip().frames ? 'gone' : '',
    n > 0 && kind === 'visible' ? 'back' : ''];
  const text = `${title(track)} ${kind}, ${span(from, to)}`;
  return make('button', {
    class: `bar ${kind} ${marks.filter(Boolean).join(' ')}`, 'aria-label': `${text}, jump to frame ${from}`,
    title: `${text}${marks.includes('gone') ? `, gone from frame ${to}` : ''}`, 'data-frame': from,
    vars: place(from, to), onclick: () => jump(from, text),
  }, kind === 'visible' ? curve(track.scores.slice(from - track.born, to - track.born)) : null);
}

// Scores as steps that fill the bar: full height is 1.
function curve(scores) {
  const steps = scores.map((score, t) => `V${(100 - 100 * score).toFixed(1)}H${t + 1}`).join('');
  return draw('svg', { viewBox: `0 0 ${scores.length} 100`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    draw('path', { d: `M0 100${steps}V100Z` }));
}

const truthBars = (object) => object.runs.map(([from, to]) => make('span', {
  class: 'truth-bar', title: `object ${object.id} (${object.name}) in sight, ${span(from, to)}`, vars: place(from, to),
}));

// Frame by frame: do track and object agree?
function strip(track, object, extra) {
  if (!object && !extra) return [];
  const kinds = Array.from({ length: clip().frames }, (_, t) => agreement(track, object, t));
  const parts = [];
  for (let from = 0; from < kinds.length;) {
    let to = from + 1;
    while (to < kinds.length && kinds[to] === kinds[from]) to += 1;
    if (kinds[from]) {
      parts.push(make('span', {
        class: `agree ${kinds[from]}`, title: `${AGREEMENT[kinds[from]]}, ${span(from, to)}`, vars: place(from, to),
      }));
    }
    from = to;
  }
  return parts;
}

const AGREEMENT = {
  hit: 'hit (IoU at least 0.5)', weak: 'IoU below 0.5', miss: 'object missed', ghost: 'ghost: a mask without the object',
};

function agreement(track, object, t) {
  if (!object) return track.masks[t - track.born] ? 'ghost' : null;
  const there = object.runs.some(([from, to]) => from <= t && t < to);
  if (!there) return object.ghosts.includes(t) ? 'ghost' : null;
  const iou = object.frameIou[t] || 0;
  if (iou >= 0.5) return 'hit';
  return iou > 0 ? 'weak' : 'miss';
}

// One row at a time is in the order of the tab key; the arrows go to the others.
function rove(row) {
  document.querySelectorAll('#timeline .row').forEach((other) => {
    other.querySelectorAll('button').forEach((button) => { button.tabIndex = other === row ? 0 : -1; });
  });
}

function moveRow(step) {
  const rows = [...document.querySelectorAll('#timeline .row')].filter((one) => !one.hidden);
  const here = rows.indexOf(document.activeElement.closest('.row'));
  const next = rows[Math.max(0, Math.min(rows.length - 1, here + step))];
  if (next) next.querySelector('.name').focus();
}

function showListed() {
  let count = 0;
  document.querySelectorAll('#timeline [data-track]').forEach((one) => {
    const track = trackById(Number(one.dataset.track));
    one.hidden = !listed(track);
    count += !one.hidden;
    one.classList.toggle('off', state.hidden.has(track.id));
    one.querySelector('.eye').setAttribute('aria-pressed', !state.hidden.has(track.id));
  });
  document.querySelectorAll('#timeline [data-object]').forEach((one) => {
    one.hidden = !admitted(clip().truth.objects.find((object) => object.id === Number(one.dataset.object)).name);
  });
  $('track-count').textContent = plural(count, 'track');
}

function showFocus() {
  document.querySelectorAll('#timeline [data-track]').forEach((one) => {
    one.classList.toggle('focus', Number(one.dataset.track) === state.focus);
  });
}

function legend() {
  const entry = (kind, text) => make('li', {}, make('span', { class: `key ${kind}` }), text);
  const agree = Object.entries(AGREEMENT).map(([kind, text]) => entry(`agree ${kind}`, text));
  $('legend').replaceChildren(entry('bar visible', 'visible, filled to the score'), entry('bar hidden', 'hidden'),
    entry('bar visible born', 'born'), entry('bar visible gone', 'gone'),
    ...(clip().truth ? [entry('truth-bar', 'object in sight (ground truth)'), ...agree] : []));
}

function startTimeline() {
  on('clip', () => { buildTimeline(); legend(); });
  on('shown', showListed);
  on('focus', showFocus);
  on('frame', () => $('timeline').style.setProperty('--at', share(state.frame)));
  $('order').addEventListener('change', buildTimeline);
  $('show-all').addEventListener('click', () => { state.hidden.clear(); changed('shown'); });
  $('hide-all').addEventListener('click', () => {
    clip().tracks.forEach((track) => state.hidden.add(track.id));
    changed('shown');
  });
}
