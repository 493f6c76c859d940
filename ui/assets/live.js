// What a page does beyond what HTML does: it keeps itself true by one event stream, keeps ages true, and says so when it
// cannot. Without it everything can be read and every form works.
(() => {
  'use strict'
  const body = document.body
  const language = document.documentElement.lang
  const silence = 16000 // three beats that did not come
  let source, heard = Date.now(), tries = 0, again

  // Times: ages count on, moments are shown in the reader's own zone.
  const relative = new Intl.RelativeTimeFormat(language, { style: 'short', numeric: 'always' })
  const moment = new Intl.DateTimeFormat(language, { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', hour12: false })
  const age = (from) => {
    const s = (Date.now() - from) / 1000
    if (s < 45) return body.dataset.just
    if (s < 3600) return relative.format(-Math.max(1, Math.floor(s / 60)), 'minute')
    if (s < 172800) return relative.format(-Math.floor(s / 3600), 'hour')
    return relative.format(-Math.floor(s / 86400), 'day')
  }
  const set = (element, text) => { if (element.textContent !== text) element.textContent = text }
  const times = (root) => {
    for (const t of root.querySelectorAll('time[datetime]')) {
      const at = new Date(t.dateTime)
      if (isNaN(at)) continue
      set(t, 'ago' in t.dataset ? age(at) : moment.format(at))
      t.title = at.toLocaleString(language)
    }
  }
  times(document)
  setInterval(() => times(document), 5000)

  // A log stays at its end while its reader is there.
  const logs = new WeakMap()
  document.addEventListener('htmx:before:swap', () => {
    for (const l of document.querySelectorAll('pre.log')) logs.set(l, l.scrollHeight - l.scrollTop - l.clientHeight < 40)
  })
  document.addEventListener('htmx:after:swap', () => {
    times(document)
    for (const l of document.querySelectorAll('pre.log')) if (logs.get(l) ?? true) l.scrollTop = l.scrollHeight
  })
  for (const l of document.querySelectorAll('pre.log')) l.scrollTop = l.scrollHeight

  document.addEventListener('click', (e) => {
    const button = e.target.closest('[data-action]')
    if (!button) return
    if (button.dataset.action === 'close-log') {
      const row = button.closest('tbody')
      button.closest('[data-keep]')?.replaceChildren()
      row?.querySelector('[data-action="log"]')?.focus()
    }
    if (button.dataset.action === 'again') connect()
  })
  // A form is sent once, however often its button is pressed.
  document.addEventListener('submit', (e) => {
    if (e.target.method !== 'post') return
    if (e.target.dataset.sent) return e.preventDefault()
    e.target.dataset.sent = '1'
    setTimeout(() => { delete e.target.dataset.sent }, 8000)
  })

  if (!body.dataset.page) return
  const banner = document.getElementById('stale')
  const is = (state) => {
    body.dataset.live = state
    if (state === 'stale' && banner.hidden) {
      const since = banner.querySelector('time')
      since.dateTime = new Date(heard).toISOString()
      banner.hidden = false
      times(banner)
    }
    if (state === 'live') banner.hidden = true
  }
  const swap = (target, text, style) => window.htmx.swap({ text, target, sourceElement: target, swap: style })
  const on = {
    token: ({ token }) => { for (const i of document.querySelectorAll('input[name="csrf"]')) i.value = token },
    whole: ({ html }) => swap(document.getElementById('main'), html, 'innerMorph'),
    part: async ({ id, html }) => {
      const old = document.getElementById(id)
      if (!old) return
      await swap(old, html, 'outerMorph')
      const now = document.getElementById(id)
      now?.classList.remove('changed')
      if (now && !now.contains(document.activeElement) && now.matches('[data-project].row')) {
        void now.offsetWidth
        now.classList.add('changed')
      }
    },
    say: ({ text }) => { document.getElementById('say').textContent = text },
    beat: () => {},
  }
  const lost = () => {
    source?.close()
    source = null
    clearTimeout(again)
    if (document.hidden) return
    if (tries++ > 0 || Date.now() - heard > silence) is('stale')
    again = setTimeout(connect, Math.min(500 * 2 ** Math.min(tries, 5), 8000))
  }
  let queue = Promise.resolve()
  const connect = () => {
    clearTimeout(again)
    source?.close()
    const s = source = new EventSource('/live?' + new URLSearchParams({ page: body.dataset.page, seen: body.dataset.seen }))
    for (const [name, act] of Object.entries(on)) {
      s.addEventListener(name, (e) => {
        if (s !== source) return
        heard = Date.now()
        tries = 0
        is('live')
        if (name === 'whole' || name === 'part') body.dataset.seen = ''
        const data = JSON.parse(e.data)
        queue = queue.then(() => act(data)).catch((err) => console.error(err))
      })
    }
    s.onerror = () => { if (s === source) lost() }
  }
  setInterval(() => { if (source && Date.now() - heard > silence) lost() }, 2000)
  // A page that nobody sees needs no stream; a browser has few for one server.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) { source?.close(); source = null; clearTimeout(again); return }
    heard = Date.now()
    connect()
  })
  window.addEventListener('pageshow', (e) => { if (e.persisted) connect() })
  is('connecting')
  connect()
})()
