"""The judging page's script: the course of a trial, frame by frame, and the keys."""

FIXATION, MASK = 600, 150
"""Milliseconds of the cross before an image and of the scrambled image after it."""

SCRIPT = """
'use strict';
(() => {
const FIXATION = @FIXATION@, MASK = @MASK@, GRAIN = 64;
const $ = id => document.getElementById(id);
const picture = $('picture'), mask = $('mask');
const ahead = new Map();
let me = null;          // where this rater stands, as the server said last
let phase = 'start';    // start, wait, show, mask, prompt, send, panel, end
let turn = 0;           // rises when a trial is broken off; what still runs for an older turn ends
let shownAt = 0, exposure = 0, pausedAt = 0;
let carryOn = null;     // what the panel's first button does
let frame = 1000 / 60;  // the display's interval between frames, measured during each fixation

const say = text => { $('status').textContent = text; };
const nextFrame = () => new Promise(resolve => requestAnimationFrame(resolve));

async function call(path, body) {
  const headers = me ? {'X-Rater': encodeURIComponent(me.rater)} : {};
  if (body) headers['Content-Type'] = 'application/json';
  let reply;
  try {
    reply = await fetch(path, body ? {method: 'POST', headers, body: JSON.stringify(body)} : {headers});
  } catch (problem) {
    throw Object.assign(new Error('The server cannot be reached. It may have been stopped.'), {status: 0});
  }
  if (!reply.ok) {
    const reason = (await reply.text()).trim();
    throw Object.assign(new Error(reason || 'The server refused.'), {status: reply.status});
  }
  return reply;
}

function screen(name) {
  for (const id of ['start', 'trial', 'panel', 'end']) $(id).hidden = id !== name;
  window.scrollTo(0, 0);
}

function only(element) {
  for (const child of $('field').children) child.classList.toggle('shown', child === element);
}

function panel(title, text, action, then, mayStop = true) {
  phase = 'panel';
  carryOn = then;
  $('title').textContent = title;
  $('text').textContent = text;
  $('action').textContent = action;
  $('stop').hidden = !mayStop;
  screen('panel');
  say(title + ' ' + text);
  $('on').focus();
}

function trouble(problem, again) {
  turn++;
  // Another tab or a server that was started again: the server knows where this rater stands.
  const lost = problem.status === 403 || problem.status === 409;
  panel('That did not work', problem.message, 'Try again', lost ? () => join(me.rater) : again);
}

async function join(name) {
  const known = me, fresh = phase === 'start';
  me = null;
  try {
    me = await (await call('/join', {rater: name})).json();
  } catch (problem) {
    if (fresh) { $('problem').textContent = problem.message; return; }
    me = known;
    panel('That did not work', problem.message, 'Try again', () => join(name));
    return;
  }
  sessionStorage.setItem('rater', me.rater);
  forget();
  if (me.result) end();
  else if (fresh && me.next === 0) trial();
  else welcome();
}

function welcome() {
  const [done, of, what] = me.next < me.practice ? [me.next, me.practice, 'practice pictures']
    : [me.next - me.practice, me.total - me.practice, 'pictures'];
  panel('Welcome back, ' + me.rater, done + ' of ' + of + ' ' + what + ' are answered.', 'Go on', trial);
}

// The image of a trial, decoded and sized, and its scrambled copy: all that showing it takes is a change of style.
function load(i) {
  if (!ahead.has(i)) {
    const made = (async () => {
      const address = URL.createObjectURL(await (await call('/image/' + i)).blob());
      const image = new Image();
      image.src = address;
      await image.decode();
      return {address, width: image.naturalWidth, height: image.naturalHeight, scrambled: scramble(image)};
    })();
    made.catch(() => ahead.delete(i));
    ahead.set(i, made);
  }
  return ahead.get(i);
}

function forget() {
  for (const made of ahead.values()) made.then(it => URL.revokeObjectURL(it.address), () => {});
  ahead.clear();
}

function scramble(image) {
  const share = Math.min(1, GRAIN / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(image.naturalWidth * share));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * share));
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  const data = pen.getImageData(0, 0, canvas.width, canvas.height);
  const cells = new Uint32Array(data.data.buffer);
  for (let i = cells.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [cells[i], cells[j]] = [cells[j], cells[i]];
  }
  return data;
}

// Small images are not blown up beyond recognition. Whole multiples keep pixels square and alike; an image larger than
// its place is reduced.
function fit(width, height) {
  const room = $('field').getBoundingClientRect();
  const longer = Math.max(width, height), side = Math.min(Math.max(224, 12 * longer), 448);
  const times = Math.min(side, room.width, room.height - 32) / longer;
  const scale = times >= 1 ? Math.floor(times) : times;
  for (const element of [picture, mask]) {
    element.style.width = width * scale + 'px';
    element.style.height = height * scale + 'px';
    element.classList.toggle('crisp', element === mask || scale > 1);
  }
}

async function prepare(it) {
  mask.width = it.scrambled.width;
  mask.height = it.scrambled.height;
  mask.getContext('2d').putImageData(it.scrambled, 0, 0);
  fit(it.width, it.height);
  picture.src = it.address;
  await picture.decode();
}

// Resolves in the first frame that is due `milliseconds` after the frame `start`, with its time.
async function due(start, milliseconds, mine) {
  let now = start;
  while (mine === turn && now - start < milliseconds - frame / 2) now = await nextFrame();
  return now;
}

async function trial() {
  const mine = ++turn, i = me.next;
  phase = 'wait';
  only($('cross'));
  $('ask').classList.add('waiting');
  progress();
  screen('trial');
  $('trial').focus();
  try {
    const it = await load(i);
    if (mine !== turn) return;
    await prepare(it);
  } catch (problem) {
    if (mine === turn) trouble(problem, trial);
    return;
  }
  const start = await nextFrame(), gaps = [];
  let last = start;
  while (mine === turn && last - start < FIXATION) {
    const now = await nextFrame();
    gaps.push(now - last);
    last = now;
  }
  if (mine !== turn) return;
  gaps.sort((a, b) => a - b);
  frame = Math.min(50, gaps[gaps.length >> 1]);
  phase = 'show';
  only(picture);  // within a frame's callback, as what follows: the display changes with the frames
  shownAt = last;
  if (me.seconds > 0) {
    const gone = await due(last, 1000 * me.seconds, mine);
    if (mine !== turn) return;
    exposure = gone - shownAt;
    phase = 'mask';
    only(mask);
    await due(gone, MASK, mine);
    if (mine !== turn) return;
    only(null);
  }
  prompt();
  if (i + 1 < me.total) load(i + 1).catch(() => {});
}

function prompt() {
  phase = 'prompt';
  $('ask').classList.remove('waiting');
  say('Real, or a fake? Press R or F.');
}

function progress() {
  const practice = me.next < me.practice;
  const [done, of] = practice ? [me.next, me.practice] : [me.next - me.practice, me.total - me.practice];
  $('count').textContent = (practice ? 'Practice ' : '') + (done + 1) + ' of ' + of;
  $('progress').max = of;
  $('progress').value = done;
  say((practice ? 'Practice picture ' : 'Picture ') + (done + 1) + ' of ' + of);
}

function answer(said) {
  if (phase !== 'prompt') return;
  phase = 'send';
  const milliseconds = performance.now() - shownAt;
  if (me.seconds === 0) exposure = milliseconds;
  $('ask').classList.add('waiting');
  only(null);
  send({trial: me.next, said, milliseconds: round(milliseconds), exposure: round(exposure)});
}

const round = x => Math.round(10 * Math.max(0, x)) / 10;

async function send(given) {
  let reply;
  phase = 'send';
  try {
    reply = await (await call('/answer', given)).json();
  } catch (problem) {
    trouble(problem, () => send(given));
    return;
  }
  const past = ahead.get(given.trial);
  if (past) past.then(it => URL.revokeObjectURL(it.address), () => {});
  ahead.delete(given.trial);
  me = reply;
  if (me.result) end();
  else if (reply.truth) told(given.said, reply.truth);
  else if (document.hidden) panel('Paused', 'The next picture waits.', 'Go on', trial);
  else trial();
}

function told(said, truth) {
  const right = said === truth ? 'You were right.' : 'You took it for ' + (said === 'real' ? 'real.' : 'a fake.');
  const over = me.next === me.practice
    ? ' That was the practice. From now on it counts, and you are not told.' : '';
  panel(truth === 'real' ? 'It was real' : 'It was a fake', right + over, 'Next', trial);
}

function pause() {
  if (!['wait', 'show', 'mask', 'prompt'].includes(phase)) return;
  // An image that was seen for its time is not shown again; one that was broken off is, and the server counts that.
  const asked = phase === 'prompt' || phase === 'mask';
  turn++;
  pausedAt = performance.now();
  if (phase === 'show') { forget(); only(null); }
  if (asked && me.seconds > 0) only(null);
  panel('Paused', 'Your answers are kept.', 'Go on', asked ? () => {
    shownAt += performance.now() - pausedAt;
    screen('trial');
    $('trial').focus();
    prompt();
  } : trial);
}

function stop() {
  turn++;
  forget();
  const done = Math.max(0, me.next - me.practice), of = me.total - me.practice;
  const kept = me.rater + ', you answered ' + done + ' of ' + of + '. The same name goes on from there.';
  leave();
  say(kept);
  $('problem').textContent = kept;
}

function leave() {
  sessionStorage.removeItem('rater');
  me = null;
  phase = 'start';
  $('name').value = $('problem').textContent = '';
  screen('start');
  $('name').focus();
}

const percent = share => (100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0) + ' %';

function end() {
  phase = 'end';
  forget();
  $('thanks').textContent = 'Thank you, ' + me.rater;
  for (const name of ['error', 'on_fakes', 'on_reals']) {
    const rate = me.result[name];
    $(name).textContent = percent(rate.value);
    $(name + '-interval').textContent = '95 %: ' + percent(rate.low) + ' to ' + percent(rate.high);
  }
  screen('end');
  $('thanks').focus();
  say('Done. You were wrong in ' + percent(me.result.error.value) + ' of the pictures.');
}

document.addEventListener('keydown', event => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (phase === 'panel' && key === ' ' && event.target.tagName !== 'BUTTON') {
    event.preventDefault();
    $('on').click();
  } else if (key === 'Escape') pause();
  else if (phase === 'prompt' && (key === 'r' || key === 'ArrowLeft')) { event.preventDefault(); answer('real'); }
  else if (phase === 'prompt' && (key === 'f' || key === 'ArrowRight')) { event.preventDefault(); answer('fake'); }
});
document.addEventListener('visibilitychange', () => { if (document.hidden) pause(); });
window.addEventListener('resize', () => {
  if (picture.naturalWidth && !$('trial').hidden) fit(picture.naturalWidth, picture.naturalHeight);
});
$('who').addEventListener('submit', event => {
  event.preventDefault();
  $('problem').textContent = '';
  join($('name').value);
});
$('real').addEventListener('click', () => answer('real'));
$('fake').addEventListener('click', () => answer('fake'));
$('pause').addEventListener('click', pause);
$('on').addEventListener('click', () => { if (phase === 'panel') carryOn(); });
$('stop').addEventListener('click', stop);
$('another').addEventListener('click', leave);

const before = sessionStorage.getItem('rater');
if (before === null) $('name').focus();
else { phase = 'panel'; join(before); }
})();
""".replace("@FIXATION@", str(FIXATION)).replace("@MASK@", str(MASK))
