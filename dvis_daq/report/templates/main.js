// Tabs, theme, and the start.
const TABS = { video: ['Video', data.clips.length], evaluation: ['Evaluation', data.figures], training: ['Training', data.runs.length] };
const tabs = () => Object.keys(TABS).filter((name) => TABS[name][1]);

function openTab(name) {
  if (!tabs().includes(name)) return;
  for (const other of tabs()) {
    $(`panel-${other}`).hidden = other !== name;
    $(`tab-${other}`).setAttribute('aria-selected', other === name);
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
  }
  if (name !== 'video') pause();
  history.replaceState(null, '', `#${name}`);
}

function startTabs() {
  $('tabs').append(...tabs().map((name) => make('button', {
    id: `tab-${name}`, role: 'tab', 'aria-controls': `panel-${name}`, text: TABS[name][0], onclick: () => openTab(name),
  })));
  $('tabs').addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const here = tabs().findIndex((name) => `tab-${name}` === document.activeElement.id);
    const next = tabs()[(here + step + tabs().length) % tabs().length];
    openTab(next);
    $(`tab-${next}`).focus();
  });
  const asked = location.hash.slice(1);
  openTab(tabs().includes(asked) ? asked : tabs()[0]);
}

const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (document.documentElement.dataset.theme || (systemIsDark.matches ? 'dark' : 'light')) === 'dark';

function showTheme() {
  $('theme').replaceChildren(icon(isDark() ? 'sun' : 'moon'));
  $('theme').setAttribute('aria-label', `Switch to ${isDark() ? 'light' : 'dark'} colours`);
  $('theme').title = `${isDark() ? 'Light' : 'Dark'} colours (t)`;
}

function switchTheme() {
  document.documentElement.dataset.theme = isDark() ? 'light' : 'dark';
  showTheme();
}

$('title').textContent = data.title;
$('theme').addEventListener('click', switchTheme);
systemIsDark.addEventListener('change', showTheme);
showTheme();
startFigures();
startCharts();
startTabs();
startKeys();
if (data.clips.length) {
  startTimeline();
  startSide();
  startTruth();
  startStage();
  openClip(0);
}
