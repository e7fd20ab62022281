// Class filter, score, layers, and the list of events beside the picture.
const LAYERS = { masks: ['Masks', 'm'], outlines: ['Outlines', 'o'], labels: ['Labels', 'l'], truth: ['Ground truth', 'g'] };
const TOLD = { born: 'born', hidden: 'hidden', back: 'back', gone: 'gone' };

function chip(text, pressed, press, extra = {}) {
  return make('button', { class: 'chip', 'aria-pressed': String(pressed), onclick: press, ...extra },
    make('span', { text }), extra.count === undefined ? null : make('i', { text: extra.count }));
}

function buildClasses() {
  const counts = new Map();
  clip().tracks.forEach(({ name }) => counts.set(name, (counts.get(name) || 0) + 1));
  if (clip().truth) clip().truth.objects.forEach(({ name }) => counts.set(name, counts.get(name) || 0));
  const names = [...counts.keys()].sort((a, b) => a.localeCompare(b));
  $('classes').replaceChildren(...names.map((name) => chip(name, admitted(name),
    () => toggle(state.without, name), { 'data-class': name, count: counts.get(name), title: `Show or hide ${name}` })));
}

function showClasses() {
  document.querySelectorAll('#classes .chip').forEach((one) => {
    one.setAttribute('aria-pressed', admitted(one.dataset.class));
  });
  document.querySelectorAll('#layers .chip').forEach((one) => {
    one.setAttribute('aria-pressed', state.layers[one.dataset.layer]);
  });
}

function buildLayers() {
  const there = Object.entries(LAYERS).filter(([layer]) => layer !== 'truth' || clip().truth);
  $('layers').replaceChildren(...there.map(([layer, [text, key]]) => chip(text, state.layers[layer],
    () => toggleLayer(layer), { 'data-layer': layer, title: `${text} (${key})` })));
}

function toggleLayer(layer) {
  state.layers[layer] = !state.layers[layer];
  changed('shown');
}

function buildEvents() {
  const found = eventsShown();
  $('event-count').textContent = found.length || '';
  $('events').replaceChildren(...found.map(({ kind, frame, track }) => make('li', { 'data-frame': frame },
    make('button', { onclick: () => jump(frame, `${title(track)} ${TOLD[kind]}`), vars: { '--c': track.colour } },
      make('span', { class: 'at', text: frame }), make('span', { class: 'dot' }),
      make('span', { class: 'who', text: title(track) }), make('span', { class: `tag ${kind}`, text: TOLD[kind] })))));
  if (!found.length) $('events').append(make('li', { class: 'none', text: 'Nothing comes or goes.' }));
  showNow();
}

function showNow() {
  document.querySelectorAll('#events li[data-frame]').forEach((one) => {
    one.classList.toggle('now', Number(one.dataset.frame) === state.frame);
    one.classList.toggle('past', Number(one.dataset.frame) < state.frame);
  });
  const now = document.querySelector('#events .now');
  if (now) {
    const list = $('events');
    const top = now.offsetTop - list.offsetTop;
    if (top < list.scrollTop || top > list.scrollTop + list.clientHeight - 30) list.scrollTop = top - 40;
  }
}

function jumpToEvent(step) {
  const frames = [...new Set(eventsShown().map(({ frame }) => frame))];
  const next = step > 0 ? frames.find((t) => t > state.frame) : frames.reverse().find((t) => t < state.frame);
  if (next === undefined) return;
  const here = eventsShown().filter(({ frame }) => frame === next);
  jump(next, here.map(({ kind, track }) => `${title(track)} ${TOLD[kind]}`).join(', '));
}

// "12 frames · 5 tracks: 2 from the start, 3 born later, 1 came back, 2 left"
function summary() {
  const count = (kind) => clip().tracks.filter((track) => track.events.some(([one]) => one === kind)).length;
  const { frames, tracks, fps, width, height } = clip();
  const parts = [[frames, 'frames'], [tracks.length, tracks.length === 1 ? 'track' : 'tracks'],
    [count('start'), 'from the start'], [count('born'), 'born later'], [count('back'), 'came back'], [count('gone'), 'left']];
  $('summary').replaceChildren(...parts.map(([number, text]) =>
    make('span', {}, make('b', { text: number }), ` ${text}`)),
  make('span', { class: 'faint', text: `${width} × ${height}, ${Number(fps.toFixed(2))} fps` }));
}

function startSide() {
  on('clip', () => { buildClasses(); buildLayers(); buildEvents(); summary(); });
  on('shown', () => { showClasses(); buildEvents(); });
  on('frame', showNow);
  $('score').addEventListener('input', () => {
    state.score = Number($('score').value);
    showScore();
    changed('shown');
  });
  const showScore = () => { $('score-text').textContent = state.score.toFixed(2); };
  showScore();
  if (data.clips.length > 1) {
    $('clip-choice').hidden = false;
    choose($('clip'), data.clips.map(({ name }, n) => [n, name]), (n) => openClip(Number(n)));
    on('clip', () => { $('clip').value = state.clip; });
  }
}
