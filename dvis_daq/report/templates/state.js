// What is shown now, and who wants to hear that it changed.
const data = JSON.parse($('data').textContent);

const state = {
  clip: 0,
  frame: 0,
  playing: false,
  speed: 1,
  score: 0,
  hidden: new Set(), // ids of tracks that are switched off
  without: new Set(), // names of classes that are switched off
  focus: null, // id of the track under the pointer or the keyboard
  layers: { masks: true, outlines: true, labels: true, truth: false },
};

const listeners = { clip: [], frame: [], shown: [], focus: [], play: [] };
const on = (names, listener) => names.split(' ').forEach((name) => listeners[name].push(listener));
const changed = (name) => listeners[name].forEach((listener) => listener());

const clip = () => data.clips[state.clip];
const trackById = (id) => clip().tracks.find((track) => track.id === id);
const admitted = (name) => !state.without.has(name);
const listed = (track) => admitted(track.name) && track.score >= state.score;
const visible = (track) => listed(track) && !state.hidden.has(track.id);
const title = (track) => `#${track.id} ${track.name}`;

function goTo(frame) {
  const last = clip().frames - 1;
  state.frame = Math.max(0, Math.min(last, frame));
  changed('frame');
}

// A jump is a move that the reader asked for: it stops the playback.
function jump(frame, text) {
  pause();
  goTo(frame);
  say(`Frame ${state.frame}${text ? `: ${text}` : ''}`);
}

function setFocus(id) {
  if (state.focus === id) return;
  state.focus = id;
  changed('focus');
}

function toggle(set, key, event = 'shown') {
  if (!set.delete(key)) set.add(key);
  changed(event);
}

function openClip(index, frame = 0) {
  pause();
  Object.assign(state, { clip: index, frame: 0, focus: null });
  state.hidden.clear();
  state.without.clear();
  changed('clip');
  goTo(frame);
}

let beat = 0;
function play() {
  if (state.playing) return;
  state.playing = true;
  if (state.frame >= clip().frames - 1) goTo(0);
  let before = performance.now();
  const tick = (now) => {
    if (!state.playing) return;
    const step = 1000 / (clip().fps * state.speed);
    if (now - before >= step) {
      const frames = Math.floor((now - before) / step);
      before += frames * step;
      const next = state.frame + frames;
      goTo(next >= clip().frames ? 0 : next);
    }
    beat = requestAnimationFrame(tick);
  };
  beat = requestAnimationFrame(tick);
  changed('play');
}

function pause() {
  if (!state.playing) return;
  state.playing = false;
  cancelAnimationFrame(beat);
  changed('play');
}

// All events of the tracks that are listed, in order of time.
function eventsShown() {
  return clip().tracks.filter(listed).flatMap((track) => track.events
    .filter(([kind]) => kind !== 'start')
    .map(([kind, frame]) => ({ kind, frame, track })))
    .sort((a, b) => a.frame - b.frame || a.track.id - b.track.id);
}
