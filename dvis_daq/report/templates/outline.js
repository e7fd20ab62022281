// COCO run lengths -> outlines that can be drawn at any size.

// Compressed counts: base 32, low digits first; from the third run on, differences to the run
// before the last.
function readRuns(text) {
  const runs = [];
  for (let i = 0; i < text.length;) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = text.charCodeAt(i++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value |= -1 << shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

// 1 where the mask is, column by column, with a border of one pixel around it.
function readMask(text, height, width) {
  const rows = height + 2;
  const mask = new Uint8Array(rows * (width + 2));
  let at = 0;
  readRuns(text).forEach((length, n) => {
    if (n % 2) {
      for (let i = at; i < at + length; i++) mask[(Math.floor(i / height) + 1) * rows + (i % height) + 1] = 1;
    }
    at += length;
  });
  return { mask, rows };
}

// Directed edges between pixel corners, the mask on their right, by start corner.
function edges({ mask, rows }, height, width) {
  const from = new Map();
  const stride = height + 1;
  const add = (x0, y0, x1, y1) => {
    const key = x0 * stride + y0;
    const found = from.get(key);
    if (found) found.push(x1 * stride + y1);
    else from.set(key, [x1 * stride + y1]);
  };
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const i = (x + 1) * rows + y + 1;
      if (!mask[i]) continue;
      if (!mask[i - 1]) add(x, y, x + 1, y);
      if (!mask[i + rows]) add(x + 1, y, x + 1, y + 1);
      if (!mask[i + 1]) add(x + 1, y + 1, x, y + 1);
      if (!mask[i - rows]) add(x, y + 1, x, y);
    }
  }
  return from;
}

// A path through the middles of the edges, so that stairs become slopes, and its box in pixels.
function outline(text, height, width) {
  const from = edges(readMask(text, height, width), height, width);
  const stride = height + 1;
  const path = new Path2D();
  const box = [width, height, 0, 0];
  const middle = (a, b) => [(Math.floor(a / stride) + Math.floor(b / stride)) / 2,
    ((a % stride) + (b % stride)) / 2];
  for (const [start, ends] of from) {
    while (ends.length) {
      let a = start;
      let first = true;
      while (from.get(a) && from.get(a).length) {
        const b = from.get(a).pop();
        const [x, y] = middle(a, b);
        if (first) path.moveTo(x, y);
        else path.lineTo(x, y);
        first = false;
        box[0] = Math.min(box[0], x);
        box[1] = Math.min(box[1], y);
        box[2] = Math.max(box[2], x);
        box[3] = Math.max(box[3], y);
        a = b;
      }
      path.closePath();
    }
  }
  return { path, box };
}

// Outlines are made once and kept; the oldest go first.
const kept = new Map();
function outlineOf(text, clip) {
  let found = kept.get(text);
  if (!found) {
    found = outline(text, clip.maskHeight, clip.maskWidth);
    if (kept.size > 4000) kept.delete(kept.keys().next().value);
    kept.set(text, found);
  }
  return found;
}
