// Keys. A control that has its own use of a key keeps it.
const KEYS = [
  ['Space', 'play or pause', (event) => event.key === ' ', () => (state.playing ? pause() : play())],
  ['← →', 'one frame back or on', (event) => /^Arrow(Left|Right)$/.test(event.key) && !event.shiftKey,
    (event) => jump(state.frame + (event.key === 'ArrowLeft' ? -1 : 1))],
  ['Shift + ← →', 'ten frames', (event) => /^Arrow(Left|Right)$/.test(event.key) && event.shiftKey,
    (event) => jump(state.frame + (event.key === 'ArrowLeft' ? -10 : 10))],
  ['Home End', 'first or last frame', (event) => /^(Home|End)$/.test(event.key),
    (event) => jump(event.key === 'Home' ? 0 : clip().frames - 1)],
  ['n p', 'next or previous event', (event) => /^[np]$/.test(event.key), (event) => jumpToEvent(event.key === 'n' ? 1 : -1)],
  ['↑ ↓', 'other track, in the timeline', (event) => /^Arrow(Up|Down)$/.test(event.key)
    && document.activeElement.closest('#timeline'), (event) => moveRow(event.key === 'ArrowUp' ? -1 : 1)],
  ['h', 'show or hide the track in focus', (event) => event.key === 'h' && state.focus !== null,
    () => toggle(state.hidden, state.focus)],
  ['m o l g', 'masks, outlines, labels, ground truth', (event) => Object.values(LAYERS).some(([, key]) => key === event.key),
    (event) => toggleLayer(Object.keys(LAYERS).find((layer) => LAYERS[layer][1] === event.key))],
];
const ALWAYS = [
  ['1 2 3', 'parts of the report', (event) => /^[1-3]$/.test(event.key), (event) => openTab(tabs()[event.key - 1])],
  ['t', 'light or dark', (event) => event.key === 't', () => switchTheme()],
  ['?', 'this list', (event) => event.key === '?', () => $('help').showModal()],
];

const takesKeys = (element, event) => (element.matches('select, textarea')
  || (element.matches('input[type=range]') && /^(Arrow|Home|End|Page)/.test(event.key) && element.id !== 'scrub')
  || (element.matches('button, summary') && event.key === ' ')
  || (element.matches('[role=tab]') && /^(Arrow|Home|End)/.test(event.key)));

function startKeys() {
  $('keys').append(...[...KEYS, ...ALWAYS].flatMap(([keys, text]) => [
    make('dt', {}, ...keys.split(' ').map((key) => (key === '+' ? '+' : make('kbd', { text: key })))),
    make('dd', { text })]));
  $('help-button').addEventListener('click', () => $('help').showModal());
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $('help').open) return;
    if (takesKeys(event.target, event)) return;
    const usable = data.clips.length && !$('panel-video').hidden ? [...KEYS, ...ALWAYS] : ALWAYS;
    const found = usable.find(([, , fits]) => fits(event));
    if (!found) return;
    event.preventDefault();
    found[3](event);
  });
}
