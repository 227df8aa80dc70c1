// Sends dropped files in parts and goes on after any cut. Gradio gives `element`, `props` and `trigger`.
const { words, route } = props
const AT_ONCE = 2, PARTS_AT_ONCE = 3, LONGEST_PAUSE = 30
const base = () => new URLSearchParams(location.search).get('base')
const input = element.querySelector('input'), zone = element.querySelector('label')
const list = element.querySelector('ul'), entries = []

class Refused extends Error {}
class Away extends Error {}
class Later extends Error {}

function rotate(x, n) { return (x >>> n) | (x << (32 - n)) }

// SHA-256 (FIPS 180-4), for pages that are not served over TLS: browsers keep their own for those that are.
function sha256(bytes) {
  const primes = [], isPrime = n => primes.every(p => n % p)
  for (let n = 2; primes.length < 64; n++) if (isPrime(n)) primes.push(n)
  const fraction = x => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0
  const k = primes.map(p => fraction(Math.cbrt(p))), h = primes.slice(0, 8).map(p => fraction(Math.sqrt(p)))
  const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64)
  padded.set(bytes); padded[bytes.length] = 0x80
  const view = new DataView(padded.buffer), w = new Int32Array(64)
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29))
  view.setUint32(padded.length - 4, (bytes.length * 8) >>> 0)
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + 4 * i)
    for (let i = 16; i < 64; i++) {
      const s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3)
      const s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10)
      w[i] = w[i - 16] + s0 + w[i - 7] + s1
    }
    let [a, b, c, d, e, f, g, last] = h
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25), chosen = (e & f) ^ (~e & g)
      const one = (last + s1 + chosen + k[i] + w[i]) | 0
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22), most = (a & b) ^ (a & c) ^ (b & c)
      ;[a, b, c, d, e, f, g, last] = [(one + s0 + most) | 0, a, b, c, (d + one) | 0, e, f, g]
    }
    ;[a, b, c, d, e, f, g, last].forEach((x, i) => { h[i] = (h[i] + x) | 0 })
  }
  return h.map(x => (x >>> 0).toString(16).padStart(8, '0')).join('')
}

async function hash(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer())
  if (!globalThis.crypto?.subtle) return sha256(bytes)
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, x => x.toString(16).padStart(2, '0')).join('')
}

async function call(method, path, options = {}) {
  let answer
  try {
    answer = await fetch(`${route}/${path}`, { method, credentials: 'same-origin', ...options })
  } catch (error) {
    if (error.name === 'AbortError') throw error
    throw new Away()
  }
  if (answer.ok) return answer.json()
  if (answer.status >= 500) throw new Away()
  const told = await answer.json().catch(() => null)
  if (answer.status === 429) throw new Later(told?.error?.message)
  throw new Refused(told?.error?.message ?? `HTTP ${answer.status}`)
}

function show(entry, state, message = '') {
  entry.state = state
  const share = entry.size ? Math.floor(100 * Math.min(1, entry.done / entry.size)) : 0
  const word = (words[state] ?? '').replace('{name}', entry.name).replace('{share}', share)
  entry.row.dataset.state = state
  entry.row.querySelector('.mbe-up-words').textContent = message || word
  const bar = entry.row.querySelector('[role=progressbar]')
  bar.setAttribute('aria-valuenow', share); bar.firstChild.style.width = `${share}%`
  const allowed = { pause: ['waiting', 'later', 'reading', 'sending', 'away'], resume: ['paused', 'refused'],
    cancel: ['waiting', 'later', 'reading', 'sending', 'away', 'paused', 'refused', 'left'] }
  for (const [name, states] of Object.entries(allowed)) {
    const hidden = !states.includes(state) || (name === 'resume' && !entry.file)
    entry.row.querySelector(`[data-do=${name}]`).hidden = hidden
  }
}

function add(entry) {
  entry.row = document.createElement('li')
  entry.row.innerHTML = '<div class="mbe-up-name"></div><div class="mbe-bar-track" role="progressbar" '
    + 'aria-valuemin="0" aria-valuemax="100"><i></i></div><div class="mbe-up-line"><span class="mbe-up-words" '
    + 'role="status"></span><button type="button" data-do="pause"></button><button type="button" '
    + 'data-do="resume"></button><button type="button" data-do="cancel"></button></div>'
  entry.row.querySelector('.mbe-up-name').textContent = entry.name
  for (const button of entry.row.querySelectorAll('button')) {
    button.textContent = words[`do_${button.dataset.do}`]
    button.onclick = () => actions[button.dataset.do](entry)
  }
  entries.push(entry); list.append(entry.row)
}

function remove(entry) {
  entry.row.remove(); entries.splice(entries.indexOf(entry), 1)
}

const actions = {
  pause(entry) { entry.stop.abort(); show(entry, 'paused') },
  resume(entry) { show(entry, 'waiting'); next() },
  async cancel(entry) {
    entry.stop?.abort(); remove(entry)
    if (entry.id) await call('DELETE', entry.id).catch(() => null)
    next()
  },
}

async function part(entry, upload, number) {
  const blob = entry.file.slice(number * upload.part_size, (number + 1) * upload.part_size)
  const headers = { 'X-Chunk-SHA256': await hash(blob), 'Content-Type': 'application/octet-stream' }
  await call('POST', `${upload.upload_id}/${number}`, { body: blob, headers, signal: entry.stop.signal })
  entry.done += blob.size
  if (entry.state === 'sending') show(entry, 'sending')
}

async function send(entry) {
  show(entry, 'reading')
  entry.sha256 ??= await hash(entry.file)
  const body = JSON.stringify({ filename: entry.name, size: entry.size, sha256: entry.sha256 })
  const headers = { 'Content-Type': 'application/json' }
  const upload = await call('POST', `init/${base()}`, { body, headers, signal: entry.stop.signal })
  entry.id = upload.upload_id
  entries.filter(one => one.state === 'left' && one.id === entry.id).forEach(remove)
  const missing = [...upload.missing]
  entry.done = upload.received.reduce((sum, n) =>
    sum + Math.min(upload.part_size, entry.size - n * upload.part_size), 0)
  show(entry, 'sending')
  let failure = null // of one part; those under way beside it arrive all the same
  const worker = async () => {
    while (missing.length && !failure) {
      await part(entry, upload, missing.shift()).catch(error => { failure ??= error })
    }
  }
  await Promise.all(Array.from({ length: PARTS_AT_ONCE }, worker))
  if (failure) throw failure
  await call('POST', `complete/${entry.id}`, { signal: entry.stop.signal })
  entry.done = entry.size
  show(entry, upload.state === 'complete' ? 'repeated' : 'kept')
  trigger('change')
}

async function work(entry) {
  for (let pause = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    const stop = entry.stop = new AbortController()
    try {
      return await send(entry)
    } catch (error) {
      if (stop.signal.aborted) return // paused or cancelled
      if (error instanceof Later) {
        show(entry, 'later', error.message)
        await rest(entry, 2)
        if (entry.stop.signal.aborted) return
        pause = 0.5
        continue
      }
      if (!(error instanceof Away)) return show(entry, 'refused', error.message)
    }
    show(entry, 'away')
    await rest(entry, pause)
    if (entry.stop.signal.aborted) return
  }
}

// Wait until the time is over, the network is back, or somebody stops it.
async function rest(entry, seconds) {
  const { signal } = entry.stop = new AbortController()
  await new Promise(go => {
    const timer = setTimeout(go, 1000 * seconds)
    addEventListener('online', go, { once: true, signal })
    signal.addEventListener('abort', () => { clearTimeout(timer); go() })
  })
}

function next() {
  const busy = entries.filter(one => ['reading', 'sending', 'away', 'later'].includes(one.state)).length
  for (const entry of entries.filter(one => one.state === 'waiting').slice(0, Math.max(0, AT_ONCE - busy))) {
    show(entry, 'reading')
    work(entry).finally(next)
  }
}

function take(files) {
  for (const file of files) {
    const entry = { file, name: file.name, size: file.size, done: 0, stop: new AbortController() }
    add(entry); show(entry, 'waiting')
  }
  next()
}

input.addEventListener('change', () => { take(input.files); input.value = '' })
for (const name of ['dragover', 'dragleave', 'drop']) {
  zone.addEventListener(name, event => {
    event.preventDefault()
    zone.classList.toggle('mbe-over', name === 'dragover')
    if (name === 'drop') take(event.dataTransfer.files)
  })
}

if (base()) {
  call('GET', `unfinished/${base()}`).then(left => left.forEach(upload => {
    const done = upload.received.length * upload.part_size
    const entry = { id: upload.upload_id, name: upload.name, size: upload.size, done }
    add(entry); show(entry, 'left')
  })).catch(() => null)
}
