// The monitor page. It trusts nothing it is told: text goes in as text, links
// only when they are http or https.
'use strict';

const shown = 200;                  // jobs on the page at most
const jobs = new Map();             // id -> job
const rows = new Map();             // id -> the element showing it
const $ = (id) => document.getElementById(id);
let bearer = '';
let drawing = false;

// ---- talking to the controller

class Ended extends Error {}        // this page's access is over

async function call(method, path, body) {
  const headers = { Authorization: 'Bearer ' + bearer };
  if (body) headers['Content-Type'] = 'application/json';
  const res = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
  if (res.status === 401) throw new Ended();
  if (!res.ok) throw new Error((await res.json().catch(() => ({}))).message || res.statusText);
  return res;
}

// enter takes the token out of the address at once and exchanges it.
async function enter() {
  const token = location.hash.slice(1);
  if (token) {
    history.replaceState(null, '', '/');
    const res = await fetch('/monitor/visit', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token }),
    });
    if (res.ok) sessionStorage.setItem('bearer', (await res.json()).bearer);
  }
  bearer = sessionStorage.getItem('bearer') || '';
  if (!bearer) throw new Ended();
}

// watch follows the events and comes back after a restart, until access ends.
async function watch() {
  for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
    try {
      const res = await call('GET', '/v1/watch');
      const known = new Set();
      for await (const e of events(res.body)) {
        apply(e, known);
        if (e.type === 'ready') wait = 500;
      }
    } catch (err) {
      if (err instanceof Ended) throw err;
    }
    notice('The controller does not answer. Trying again …');
    await new Promise((later) => setTimeout(later, wait));
  }
}

// events yields the messages of a stream. The controller shows a sign of life
// every 15 seconds; after 45 without one the stream is given up.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const silent = setTimeout(() => reader.cancel(), 45000);
    const { value, done } = await reader.read();
    clearTimeout(silent);
    if (done) return;
    const parts = (rest + value).split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith('data:')) yield JSON.parse(part.slice(5));
    }
  }
}

function apply(e, known) {
  switch (e.type) {
    case 'job':
      announce(jobs.get(e.job.id), e.job);
      jobs.set(e.job.id, e.job);
      known.add(e.job.id);
      break;
    case 'removed':
      jobs.delete(e.id);
      break;
    case 'ready':
      for (const id of jobs.keys()) if (!known.has(id)) jobs.delete(id);
      notice('');
      break;
    case 'draining':
      notice('The controller is ending. Accepted transfers go on when it runs again.');
  }
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(draw);
  }
}

// announce tells those who can't see the page that a job has come further.
function announce(before, now) {
  if (before && before.state !== now.state) text($('said'), (now.name || 'Unnamed') + ': ' + (words[now.state] || now.state));
}

async function command(verb, select) {
  try {
    const res = await call('POST', '/v1/jobs/' + verb, select);
    const failed = (await res.json()).outcomes.filter((o) => o.error);
    if (failed.length && !select.all) notice(failed.map((o) => o.error).join('\n'));
  } catch (err) {
    if (err instanceof Ended) closed();
    else notice(err.message);
  }
}

// ---- showing

const words = {
  queued: 'Waiting', uploading: 'Uploading', paused: 'Paused', verifying: 'Checking',
  done: 'Delivered', failed: 'Failed', canceled: 'Canceled',
};
const fits = {
  pause: ['queued', 'uploading', 'verifying'], resume: ['paused'], retry: ['failed', 'canceled'],
  cancel: ['queued', 'uploading', 'paused', 'verifying', 'failed'],
};
const active = (j) => j.state !== 'done' && j.state !== 'canceled';

function draw() {
  drawing = false;
  const list = [...jobs.values()].sort((a, b) => active(b) - active(a) || b.created.localeCompare(a.created) || a.id.localeCompare(b.id));
  const visible = list.slice(0, shown);
  const keep = new Set(visible.map((j) => j.id));
  for (const [id, row] of rows) {
    if (!keep.has(id)) {
      row.remove();
      rows.delete(id);
    }
  }
  const focus = document.activeElement;
  visible.forEach((job, at) => {
    if (!rows.has(job.id)) rows.set(job.id, newRow(job.id));
    const row = rows.get(job.id);
    if ($('jobs').children[at] !== row) $('jobs').insertBefore(row, $('jobs').children[at] || null);
    fill(row, job);
  });
  if (focus !== document.activeElement && focus.isConnected && !focus.hidden) focus.focus(); // its row was moved
  $('more').hidden = list.length <= shown;
  $('more').textContent = (list.length - shown) + ' more are not shown: controller list has them all.';
  summary(list);
}

function summary(list) {
  const open = list.filter(active);
  const rate = open.reduce((sum, j) => sum + j.rate_bytes_per_second, 0);
  text($('summary'), !list.length ? 'Nothing has been handed over yet.'
    : !open.length ? 'All is delivered.'
      : open.length + ' open' + (rate ? ' · ' + size(rate) + '/s' : ''));
  $('all').hidden = false;
  const able = (verb, j) => (verb === 'retry' ? j.state === 'failed' : fits[verb].includes(j.state));
  for (const b of $('all').children) b.disabled = !list.some((j) => able(b.dataset.verb, j));
}

function newRow(id) {
  const row = $('job').content.firstElementChild.cloneNode(true);
  row.querySelector('.actions').addEventListener('click', (e) => {
    const verb = e.target.dataset.verb;
    if (verb === 'copy') copy(jobs.get(id), e.target);
    else if (verb && (verb !== 'cancel' || confirm('Cancel “' + jobs.get(id).name + '” and remove it from the server?'))) {
      command(verb, { ids: [id] });
    }
  });
  return row;
}

function fill(row, j) {
  const part = (name) => row.querySelector(name);
  const label = j.name || 'Unnamed';
  text(part('.name'), label);
  text(part('.state'), words[j.state] || j.state);
  part('.state').dataset.state = j.state;
  const bar = part('progress');
  bar.value = j.state === 'done' ? 1 : j.bytes_total ? j.bytes_done / j.bytes_total : 0;
  bar.setAttribute('aria-label', 'Progress of ' + label);
  text(part('.figures'), figures(j));
  part('.error').hidden = !j.error;
  text(part('.error'), j.error);
  part('.actions').setAttribute('aria-label', label);
  const used = part('.actions').contains(document.activeElement) ? document.activeElement : null;
  for (const b of part('.actions').children) {
    b.hidden = b.dataset.verb === 'copy' ? !j.links.length : !fits[b.dataset.verb].includes(j.state);
  }
  if (used && used.hidden) part('.actions button:not([hidden])')?.focus();
  files(part('.files'), j);
}

function figures(j) {
  const out = [j.state === 'done' ? size(j.bytes_total) : size(j.bytes_done) + ' of ' + size(j.bytes_total)];
  if (j.rate_bytes_per_second > 0 && j.state === 'uploading') {
    out.push(size(j.rate_bytes_per_second) + '/s');
    out.push(time((j.bytes_total - j.bytes_done) / j.rate_bytes_per_second) + ' left');
  }
  out.push('to ' + j.destination);
  return out.join(' · ');
}

// files lists the items; it is drawn anew only when a link or a name changed, so
// that a reader's place in it stays.
function files(box, j) {
  const state = JSON.stringify(j.items.map((i) => [i.name, i.size, i.link]));
  box.hidden = !j.items.length;
  if (box.dataset.state === state) return;
  box.dataset.state = state;
  text(box.querySelector('summary'), j.items.length === 1 ? '1 file' : j.items.length + ' files');
  box.querySelector('ul').replaceChildren(...j.items.map((i) => {
    const li = document.createElement('li');
    if (/^https?:\/\//i.test(i.link)) {
      const a = document.createElement('a');
      Object.assign(a, { href: i.link, textContent: i.name, target: '_blank', rel: 'noopener noreferrer' });
      li.append(a);
    } else {
      li.append(i.name);
    }
    li.append(' (' + size(i.size) + ')');
    return li;
  }));
}

// copy puts the links on the clipboard, as hyperlinks for a mail's body and as
// plain text for everything else.
async function copy(job, button) {
  const named = job.items.filter((i) => i.link);
  const plain = named.length ? named.map((i) => i.name + '\n' + i.link).join('\n') : job.links.join('\n');
  let said = 'Copied';
  try {
    await navigator.clipboard.write([new ClipboardItem({
      'text/plain': new Blob([plain], { type: 'text/plain' }),
      'text/html': new Blob([hyperlinks(job, named)], { type: 'text/html' }),
    })]);
  } catch {
    said = await navigator.clipboard.writeText(plain).then(() => 'Copied', () => 'Not allowed here');
  }
  button.textContent = said;
  setTimeout(() => { button.textContent = 'Copy links'; }, 1500);
}

function hyperlinks(job, named) {
  const list = document.createElement('ul');
  for (const [name, link] of named.length ? named.map((i) => [i.name, i.link]) : job.links.map((l) => [l, l])) {
    const a = document.createElement('a');
    if (/^https?:\/\//i.test(link)) a.href = link;
    a.textContent = name;
    const li = document.createElement('li');
    li.append(a);
    list.append(li);
  }
  return list.outerHTML;
}

function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

function size(n) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let u = 0;
  for (; n >= 1024 && u < units.length - 1; u++) n /= 1024;
  return (u === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + ' ' + units[u];
}

function time(s) {
  if (s < 60) return Math.max(1, Math.round(s)) + ' s';
  if (s < 3600) return Math.round(s / 60) + ' min';
  return Math.floor(s / 3600) + ' h ' + Math.round(s % 3600 / 60) + ' min';
}

function notice(message) {
  $('notice').hidden = !message;
  text($('notice'), message);
}

// closed shows that this page has no access, and no longer what it once knew.
function closed() {
  const before = bearer !== '';
  sessionStorage.removeItem('bearer');
  bearer = '';
  jobs.clear();
  draw();
  $('all').hidden = true;
  text($('summary'), '');
  document.body.classList.add('closed');
  notice((before ? 'This page is no longer let in: the controller has been started anew, or nobody looked for long. ' : '')
    + 'Open it from the tray icon, or with: controller open');
}

$('all').addEventListener('click', (e) => {
  const verb = e.target.dataset.verb;
  if (verb === 'retry') command(verb, { ids: [...jobs.values()].filter((j) => j.state === 'failed').map((j) => j.id) });
  else if (verb && (verb !== 'cancel' || confirm('Cancel every open transfer?'))) command(verb, { all: true });
});

enter().then(watch).catch((err) => {
  if (err instanceof Ended) closed();
  else notice('This page does not work: ' + err.message);
});
