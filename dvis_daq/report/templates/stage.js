// The picture with the tracks drawn over it.
const canvas = $('canvas');
const paint = canvas.getContext('2d');
const pictures = new Map(); // index -> Image, the oldest go first

function pictureAt(frame) {
  const all = clip().pictures;
  let index = frame;
  while (index > 0 && all[index] === null) index -= 1;
  while (index < all.length && all[index] === null) index += 1; // the first ones are missing
  let image = pictures.get(index);
  if (!image) {
    image = new Image();
    image.src = `data:image/jpeg;base64,${all[index]}`;
    image.decode().then(() => { if (state.frame === frame) redraw(); });
    if (pictures.size > 90) pictures.delete(pictures.keys().next().value);
    pictures.set(index, image);
  }
  return image;
}

// A picture that is still being decoded leaves the one before it on the screen.
let shownPicture = null;
function redraw() {
  const image = pictureAt(state.frame);
  if (image.complete && image.naturalWidth) shownPicture = image;
  for (let ahead = 1; ahead <= 6 && state.frame + ahead < clip().frames; ahead++) {
    pictureAt(state.frame + ahead);
  }
  paint.setTransform(1, 0, 0, 1, 0, 0);
  paint.imageSmoothingQuality = 'high';
  if (shownPicture) paint.drawImage(shownPicture, 0, 0, canvas.width, canvas.height);
  const here = maskedTracks();
  here.forEach(drawMask);
  if (state.layers.truth && clip().truth) clip().truth.objects.forEach(drawTruth);
  if (state.layers.labels) drawLabels(here);
  canvas.setAttribute('aria-label', `Frame ${state.frame}: ${
    here.map(({ track }) => title(track)).join(', ') || 'no track'}`);
}

// The tracks with a mask in this frame, the one in focus last.
function maskedTracks() {
  return clip().tracks.filter(visible).flatMap((track) => {
    const text = track.masks[state.frame - track.born];
    return text ? [{ track, ...outlineOf(text, clip()) }] : [];
  }).sort((a, b) => (a.track.id === state.focus) - (b.track.id === state.focus));
}

const scale = () => canvas.width / clip().maskWidth;
const pixels = (count) => (count * canvas.width) / canvas.clientWidth;

function drawMask({ track, path }) {
  const inFocus = track.id === state.focus;
  paint.setTransform(scale(), 0, 0, canvas.height / clip().maskHeight, 0, 0);
  if (state.layers.masks) {
    paint.globalAlpha = inFocus ? 0.62 : 0.42;
    paint.fillStyle = track.colour;
    paint.fill(path, 'evenodd');
    paint.globalAlpha = 1;
  }
  if (state.layers.outlines || inFocus) {
    paint.lineJoin = 'round';
    if (inFocus) {
      paint.strokeStyle = '#fff';
      paint.lineWidth = pixels(5) / scale();
      paint.stroke(path);
    }
    paint.strokeStyle = track.colour;
    paint.lineWidth = pixels(2.25) / scale();
    paint.stroke(path);
  }
}

function drawTruth(object) {
  const text = object.masks[state.frame];
  if (!text || !admitted(object.name)) return;
  paint.setTransform(scale(), 0, 0, canvas.height / clip().maskHeight, 0, 0);
  const { path } = outlineOf(text, clip());
  for (const [colour, dash] of [['#000b', []], ['#fff', [pixels(5) / scale(), pixels(4) / scale()]]]) {
    paint.strokeStyle = colour;
    paint.setLineDash(dash);
    paint.lineWidth = pixels(colour === '#fff' ? 1.6 : 3) / scale();
    paint.stroke(path);
  }
  paint.setLineDash([]);
}

// Plates above the objects, inside the picture, moved down where two would overlap.
function drawLabels(here) {
  paint.setTransform(1, 0, 0, 1, 0, 0);
  const size = pixels(12.5);
  const height = size * 1.55;
  paint.font = `600 ${size}px system-ui, sans-serif`;
  paint.textBaseline = 'middle';
  const taken = [];
  for (const { track, box } of here) {
    const score = track.scores[state.frame - track.born];
    const text = `${title(track)}  ${score.toFixed(2)}`;
    const width = paint.measureText(text).width + size;
    const x = Math.max(0, Math.min(canvas.width - width, box[0] * scale()));
    let y = Math.max(0, box[1] * scale() - height - pixels(3));
    const hits = (other) => x < other[0] + other[2] && other[0] < x + width
      && y < other[1] + height && other[1] < y + height;
    for (let tries = 0; tries < 8 && taken.some(hits); tries++) {
      y = Math.min(canvas.height - height, y + height * 1.05);
    }
    taken.push([x, y, width]);
    paint.fillStyle = track.colour;
    paint.beginPath();
    paint.roundRect(x, y, width, height, size * 0.3);
    paint.fill();
    paint.fillStyle = dark(track.colour) ? '#fff' : '#111';
    paint.fillText(text, x + size / 2, y + height * 0.53);
  }
}

function dark(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b < 140;
}

// As large as the place allows; small videos are enlarged.
function fitCanvas() {
  const room = canvas.parentElement.clientWidth;
  if (!room) return; // another tab is open
  const tallest = Math.max(240, window.innerHeight * 0.58);
  const width = Math.min(room, (tallest * clip().width) / clip().height);
  canvas.style.width = `${Math.round(width)}px`;
  canvas.width = Math.round(width * (window.devicePixelRatio || 1));
  canvas.height = Math.round((canvas.width * clip().height) / clip().width);
  redraw();
}

// The track under the pointer, the topmost.
function trackAt(event) {
  const area = canvas.getBoundingClientRect();
  const x = ((event.clientX - area.left) / area.width) * clip().maskWidth;
  const y = ((event.clientY - area.top) / area.height) * clip().maskHeight;
  paint.setTransform(1, 0, 0, 1, 0, 0);
  const found = maskedTracks().reverse().find(({ path }) => paint.isPointInPath(path, x, y, 'evenodd'));
  return found ? found.track.id : null;
}

function startStage() {
  canvas.addEventListener('pointermove', (event) => setFocus(trackAt(event)));
  canvas.addEventListener('pointerleave', () => setFocus(null));
  canvas.addEventListener('click', (event) => {
    const id = trackAt(event);
    if (id === null) return;
    const row = document.querySelector(`[data-track="${id}"] .name`);
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
  });
  on('clip', () => {
    pictures.clear();
    kept.clear();
    shownPicture = null;
    fitCanvas();
  });
  on('frame shown focus', redraw);
  new ResizeObserver(fitCanvas).observe(canvas.parentElement);

  $('back').append(icon('back'));
  $('next').append(icon('next'));
  $('back').addEventListener('click', () => jump(state.frame - 1));
  $('next').addEventListener('click', () => jump(state.frame + 1));
  $('play').addEventListener('click', () => (state.playing ? pause() : play()));
  $('scrub').addEventListener('input', () => { pause(); goTo(Number($('scrub').value)); });
  $('speed').addEventListener('change', () => { state.speed = Number($('speed').value); });
  on('play', showPlaying);
  on('clip', () => { $('scrub').max = clip().frames - 1; });
  on('frame', showPlace);
  showPlaying();
}

function showPlaying() {
  $('play').replaceChildren(icon(state.playing ? 'pause' : 'play'));
  $('play').setAttribute('aria-label', state.playing ? 'Pause' : 'Play');
  $('play').title = `${state.playing ? 'Pause' : 'Play'} (space)`;
}

function showPlace() {
  $('scrub').value = state.frame;
  $('counter').textContent = `${state.frame} / ${clip().frames - 1}`;
  const skipped = clip().skipped.find((one) => one.frame === state.frame);
  $('note').hidden = !skipped;
  if (skipped) $('note').textContent = `Frame ${skipped.frame} was skipped: ${skipped.reason}`;
}
