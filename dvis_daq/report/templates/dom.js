// Making elements. Texts are set as texts: nothing from the data is ever parsed as markup.
const SVG = 'http://www.w3.org/2000/svg';
const $ = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'text') element.textContent = value;
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'vars') {
      for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    } else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const make = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const ICONS = {
  play: 'M7 4.5v15l12-7.5z',
  pause: 'M6 5h4v14H6zM14 5h4v14h-4z',
  back: 'M17 5v14l-9-7zM6 5h2.5v14H6z',
  next: 'M7 5v14l9-7zM15.5 5H18v14h-2.5z',
  sun: 'M12 8a4 4 0 100 8 4 4 0 000-8zM11 2h2v3h-2zM11 19h2v3h-2zM2 11h3v2H2zM19 11h3v2h-3z' +
    'M4.2 5.6l1.4-1.4 2.1 2.1-1.4 1.4zM16.3 17.7l1.4-1.4 2.1 2.1-1.4 1.4z' +
    'M16.3 6.3l2.1-2.1 1.4 1.4-2.1 2.1zM4.2 18.4l2.1-2.1 1.4 1.4-2.1 2.1z',
  moon: 'M20 14.5A8.5 8.5 0 019.5 4a8.5 8.5 0 1010.5 10.5z',
  eye: 'M12 5C6.5 5 2.7 9.6 1.5 12c1.2 2.4 5 7 10.5 7s9.3-4.6 10.5-7C21.3 9.6 17.5 5 12 5z' +
    'M12 8.2a3.8 3.8 0 110 7.6 3.8 3.8 0 010-7.6z',
};

const icon = (name) => draw('svg', { viewBox: '0 0 24 24', 'aria-hidden': 'true', class: 'glyph' },
  draw('path', { d: ICONS[name], 'fill-rule': 'evenodd' }));

const percent = (value) => (value === null || value === undefined ? '–' : (100 * value).toFixed(1));
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

function choose(element, items, onPick) {
  element.replaceChildren(...items.map(([value, text]) => make('option', { value, text })));
  element.addEventListener('change', () => onPick(element.value));
}

function say(text) {
  $('live').textContent = text;
}
