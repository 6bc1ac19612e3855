"use strict";
// Keeps a page up to date: elapsed and local times, search, and the live part as the timeline goes on.
(() => {
  const SECOND = 1000, DAY = 86_400 * SECOND;
  let live = document.getElementById("live");
  let offset = 0; // what the server's clock is ahead of ours, ms

  // ---- Sign-in: a link can bring a code, or the token, in its fragment, which no server and no log ever sees.
  const signIn = document.getElementById("sign-in");
  function takeToken() {
    const found = /^#(token|code)=(.*)/s.exec(location.hash);
    if (!found) return;
    const given = found[2];
    history.replaceState(null, "", location.pathname + location.search);
    if (!signIn) return;
    const field = signIn.elements[found[1]];
    try { field.value = decodeURIComponent(given); } catch { field.value = given; }
    signIn.elements.token.required = found[1] === "token";
    signIn.requestSubmit();
  }
  takeToken();
  addEventListener("hashchange", takeToken);

  // ---- Times
  const now = () => Date.now() + offset;

  // As app/domain/durations.py says it: to the nearest.
  function words(ms) {
    const seconds = Math.round(Math.max(0, ms) / 1000), minutes = Math.round(seconds / 60);
    if (seconds < 60) return `${seconds} s`;
    if (minutes < 60) return `${minutes} min`;
    if (minutes < 24 * 60) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
    const hours = Math.round(minutes / 60);
    return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
  }

  function tick(root) {
    const at = now();
    for (const span of root.querySelectorAll("[data-since-ms]")) {
      const text = words(at - Number(span.dataset.sinceMs));
      if (span.firstChild.data !== text) span.firstChild.data = text;
    }
    if (root === live) document.dispatchEvent(new CustomEvent("octowait:tick", { detail: at }));
  }

  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  function markOf(at, step) {
    const clock = `${two(at.getHours())}:${two(at.getMinutes())}`;
    if (step < 60 * SECOND) return `${clock}:${two(at.getSeconds())}`;
    const day = `${at.getDate()} ${MONTHS[at.getMonth()]}`;
    if (clock === "00:00") return day;
    return step < DAY ? clock : `${day} ${clock}`;
  }

  // The full hours, midnights and days of the reader between two moments, *step* apart by the clock on the wall.
  function localMoments(from, to, step) {
    const first = new Date(from), [year, month, day] = [first.getFullYear(), first.getMonth(), first.getDate()];
    const days = step / DAY, today = Math.round(Date.UTC(year, month, day) / DAY);
    const clock = SECOND * (3600 * first.getHours() + 60 * first.getMinutes() + first.getSeconds());
    const nth = days < 1
      ? (n) => new Date(year, month, day, 0, 0, ((Math.floor(clock / step) + n) * step) / SECOND).getTime()
      : (n) => new Date(1970, 0, 1 + (Math.floor(today / days) + n) * days).getTime();
    const moments = [];
    for (let n = 0, at = nth(0); at < to && n < 1000; n += 1, at = nth(n)) {
      // Where clocks are put back, a mark may come twice.
      if (at >= from && !(at <= moments.at(-1))) moments.push(at);
    }
    return moments;
  }

  // A chart is drawn for UTC: here its marks are made anew for the reader, and what pointing at it says.
  function localMarks(chart) {
    const [from, span, step] = ["fromMs", "spanMs", "stepMs"].map((name) => Number(chart.dataset[name]));
    const plot = chart.querySelector(".plot"), height = chart.getAttribute("height");
    for (const old of plot.querySelectorAll(":scope > .grid, :scope > .tick")) old.remove();
    const marks = document.createDocumentFragment();
    localMoments(from, from + span, step).forEach((at, number) => {
      const x = (100 * (at - from)) / span, place = `${x.toFixed(3)}%`;
      const side = x < 3 ? " left first" : x < 10 ? " left" : x > 97 ? " right last" : x > 90 ? " right" : "";
      const line = document.createElementNS(chart.namespaceURI, "line"), text = document.createElementNS(chart.namespaceURI, "text");
      for (const [name, value] of Object.entries({ class: "grid", x1: place, x2: place, y1: 16, y2: height })) line.setAttribute(name, value);
      for (const [name, value] of Object.entries({ class: `tick${number % 2 ? " odd" : ""}${side}`, x: place, y: 11, "data-at-ms": at })) text.setAttribute(name, value);
      text.textContent = markOf(new Date(at), step);
      marks.append(line, text);
    });
    plot.prepend(marks);
    for (const title of chart.querySelectorAll("title, desc")) title.textContent = localText(title.textContent);
  }

  const stamp = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;

  // "from 2026-11-23 18:00:00 to 2026-11-23 18:05:00 UTC" in the time zone of the reader.
  const MOMENT = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d";
  const UTC_SPAN = new RegExp(`(${MOMENT})(?:( to )(${MOMENT})| on)? UTC`, "g");
  const local = (text) => stamp(new Date(`${text.replace(" ", "T")}Z`));
  const localText = (text) => text.replace(UTC_SPAN, (whole, from, to, until) => `${local(from)}${to ? to + local(until) : / on /.test(whole) ? " on" : ""}`);

  const two = (number) => String(number).padStart(2, "0");
  function localTimes(root) {
    for (const time of root.querySelectorAll("time[data-at-ms]")) {
      const at = new Date(Number(time.dataset.atMs));
      if (Number.isNaN(at.getTime())) continue;
      time.title = `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
      time.textContent = stamp(at);
    }
    for (const chart of root.querySelectorAll(".gantt")) localMarks(chart);
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    for (const text of root.querySelectorAll("[data-utc]")) text.textContent = localText(text.textContent);
    for (const note of root.querySelectorAll("[data-in-zone]")) note.textContent = `in the time zone ${zone}`;
    for (const note of root.querySelectorAll("[data-zone]")) note.textContent = `Times are in the time zone ${zone}.`;
  }

  // A time that somebody writes is one of the clock on their wall; the server is told it in UTC beside it.
  document.addEventListener("submit", (event) => {
    for (const field of event.target.querySelectorAll("[data-local-time]")) {
      const found = field.value.trim().match(/^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d))?$/);
      const [year, month, ...rest] = found ? found.slice(1).map((part) => Number(part || 0)) : [];
      const at = found && new Date(year, month - 1, ...rest);
      event.target.elements[`${field.name}_utc`].value = at && !Number.isNaN(at.getTime()) ? at.toISOString() : "";
    }
  });

  // ---- Search and filter; the server does the same for a page without script.
  const filter = document.getElementById("filter");
  const NAMES = ["environment", "project"];
  // Of a large fleet the page has a part only, of those that match, and only the first of each line.
  const isPaged = () => "paged" in live.dataset;
  function applyFilter(root) {
    if (!filter || isPaged()) return;
    const asked = filter.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const show = filter.elements.show.value;
    const named = NAMES.map((name) => [`${name}s`, filter.elements[name].value.toLowerCase()]).filter(([, value]) => value);
    let shown = 0;
    for (const card of root.querySelectorAll(".machine")) {
      const { status, waiting } = card.dataset;
      let kind = show === "all" || (show === "waiting" ? waiting !== "0" : (status === "idle") === (show === "idle"));
      kind &&= named.every(([name, value]) => card.dataset[name].includes(`|${value}|`));
      const text = kind && asked.length ? Array.from(card.querySelectorAll(".s"), (e) => e.textContent).join(" ").toLowerCase() : "";
      card.hidden = !(kind && asked.every((word) => text.includes(word)));
      shown += !card.hidden;
    }
    const nothing = root.querySelector("#nothing");
    if (nothing && !root.dataset.part) nothing.hidden = shown > 0;
  }

  if (filter) {
    const changed = () => {
      applyFilter(live);
      const wanted = new URLSearchParams();
      for (const name of ["q", ...NAMES]) if (filter.elements[name].value) wanted.set(name, filter.elements[name].value);
      if (filter.elements.show.value !== "all") wanted.set("show", filter.elements.show.value);
      history.replaceState(null, "", wanted.size ? `?${wanted}` : location.pathname);
      clearTimeout(asking);
      asking = setTimeout(() => ask(isPaged() ? null : []), 300); // the table of those who wait is the server's
    };
    let asking = 0;
    filter.addEventListener("input", changed);
    filter.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
    filter.querySelector(".no-script").remove();
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.matches("input, textarea")) {
        event.preventDefault();
        filter.elements.q.focus();
      }
    });
  }

  // ---- Swapping: change what differs and leave the rest alone, so that focus, selection and scrolling stay.
  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id : "");

  // What somebody is typing into stays; whether details are open is theirs to say.
  const isInUse = (node) => node.nodeName === "FORM" && (node.contains(document.activeElement) || "changed" in node.dataset);
  document.addEventListener("input", (event) => { if (event.target.form) event.target.form.dataset.changed = ""; });

  function morph(old, next) {
    if (old.isEqualNode(next) || isInUse(old)) return;
    if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) {
      old.replaceWith(next);
    } else if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = next.data;
    } else {
      for (const { name } of [...old.attributes]) if (!next.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
      for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      morphChildren(old, next);
    }
  }

  function morphChildren(old, next) {
    const kept = new Set(Array.from(next.children, keyOf).filter(Boolean));
    const byKey = new Map();
    for (const child of [...old.children]) {
      const key = keyOf(child);
      if (key && kept.has(key)) byKey.set(key, child);
      else if (key) child.remove();
    }
    let at = old.firstChild;
    for (const child of [...next.childNodes]) {
      const key = keyOf(child);
      const same = key ? byKey.get(key) : at && !keyOf(at) && at.nodeName === child.nodeName ? at : null;
      if (!same) { old.insertBefore(child, at); continue; }
      // A node that is moved loses its focus: rather drop the white space before it.
      while (key && at && at !== same && !keyOf(at)) { const gone = at; at = at.nextSibling; gone.remove(); }
      if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
      morph(same, child);
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  }

  function swap(html) {
    const next = new DOMParser().parseFromString(html, "text/html").getElementById("live");
    if (!next) return;
    offset = Number(next.dataset.nowMs) - Date.now();
    tick(next);
    localTimes(next);
    applyFilter(next);
    const focused = document.activeElement;
    const card = focused?.closest(".machine")?.dataset.key;
    if ("part" in next.dataset && live.querySelector("#machines")) swapPart(next);
    else morph(live, next);
    if (live.dataset.title) document.title = live.dataset.title;
    if (focused && document.activeElement !== focused) refocus(focused.getAttribute("href"), card);
  }

  function swapPart(next) {
    const [overview, fresh] = [live.querySelector("#overview"), next.querySelector("#overview")];
    if (!overview || !fresh) return ask(null);
    morph(overview, fresh);
    for (const card of next.querySelectorAll(".machine")) {
      const old = cardOf(card.dataset.key);
      if (old) morph(old, card); else if (!isPaged()) ask(null);
    }
    const { nowMs, title } = next.dataset;
    Object.assign(live.dataset, { nowMs, title });
    applyFilter(live);
  }

  const cardOf = (key) => live.querySelector(`.machine[data-key="${CSS.escape(key)}"]`);

  // What had the focus is gone: the same link elsewhere, first in its own card, or that card's name.
  function refocus(href, key) {
    const card = key && cardOf(key);
    const link = href && `a[href="${CSS.escape(href)}"]`;
    const found = (link && ((card && card.querySelector(link)) || live.querySelector(link))) || card?.querySelector("h2 a");
    found?.focus({ preventScroll: true });
  }

  // ---- Live
  const connection = document.getElementById("connection");
  const SAYS = { live: "Live", lost: "Reconnecting…" };
  function say(state) {
    if (connection.dataset.state === state) return;
    connection.dataset.state = state;
    connection.textContent = SAYS[state];
  }

  //: Machines asked for at once; for more, everything is.
  const MOST_PARTS = 40;
  const wanted = new Set();
  let unlessSeen = false; // the next answer may be that nothing happened since the last full one
  let everything = false, isWanted = false, isAsking = false, isHurried = false, timer = 0;

  // A page takes a small part of the server's time, whatever happens: some questions a second for what is quickly made,
  // and fewer for a chart of months. Some may follow each other at once. What one script writes comes as several records.
  // What somebody asks for does not count against that below nothing: after many zooms a page would stay old for minutes.
  const BURST = 3, SHARE = 1 / 25, TOGETHER = 25;
  let allowed = BURST, allowedAt = 0, took = 0; // ms of the server's time for the last answer
  const pauseOf = (questions) => questions * Math.min(60 * SECOND, Math.max(SECOND / 5, took / SHARE));
  function allow() {
    const now = performance.now();
    allowed = Math.min(BURST, allowed + (now - allowedAt) / pauseOf(1));
    allowedAt = now;
    return allowed;
  }
  const pause = () => Math.max(TOGETHER, pauseOf(1 - allow()));

  // Ask for the given machines' cards (null: everything), at once if that may be.
  function ask(machines) {
    if (machines) machines.forEach((machine) => wanted.add(machine.toLowerCase()));
    else everything = true;
    isWanted = true;
    if (isAsking || timer || document.hidden) return;
    timer = setTimeout(() => { timer = 0; refresh(); }, isHurried ? 0 : pause());
  }

  // Somebody wants to see another part of time: without the pause that records have to make.
  document.addEventListener("octowait:draw", () => {
    clearTimeout(timer);
    timer = 0;
    isHurried = true;
    ask(null);
  });

  async function refresh() {
    const parts = !everything && live.dataset.scope === "all" && wanted.size <= MOST_PARTS ? [...wanted] : null;
    const query = new URLSearchParams(location.search);
    query.set("fragment", parts ? "some" : "1");
    if (parts) query.delete("machine");
    for (const id of parts || []) query.append("machine", id);
    if (unlessSeen && !parts && live.dataset.lastId) query.set("seen", live.dataset.lastId);
    wanted.clear();
    everything = isWanted = isHurried = unlessSeen = false;
    isAsking = true;
    allowed = Math.max(0, allow() - 1);
    try {
      const answer = await fetch(`${location.pathname}?${query}`, { cache: "no-store", signal: AbortSignal.timeout(15 * SECOND) });
      if (answer.status === 204) return true;
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(`answer ${answer.status}`);
      took = Number((answer.headers.get("Server-Timing") || "").match(/dur=([\d.]+)/)?.[1]) || 0;
      swap(await answer.text());
      return true;
    } catch {
      everything = true;
      lose();
      return false;
    } finally {
      isAsking = false;
      if (isWanted && (source || isHurried)) ask([]);
    }
  }

  let source = null, tries = 0, retry = 0;

  function connect() {
    clearTimeout(retry);
    source?.close();
    source = new EventSource("/api/stream");
    source.onopen = () => { tries = 0; say("live"); unlessSeen = true; ask(null); };
    source.onmessage = (message) => note(JSON.parse(message.data));
    source.onerror = lose;
  }

  // Our own pauses instead of the browser's: it gives up for good on a 502 of a proxy.
  function lose() {
    source?.close();
    source = null;
    say("lost");
    clearTimeout(retry);
    const pause = Math.min(10 * SECOND, 250 * 2 ** tries) * (0.75 + Math.random() / 2);
    tries += 1;
    retry = setTimeout(async () => { if (!document.hidden && (await refresh())) connect(); }, pause);
  }

  function note(record) {
    const task = (record.task_id || "").toLowerCase();
    const machines = record.machines.map((machine) => machine.toLowerCase());
    if (live.dataset.scope === "every") {
      ask(null);
    } else if (live.dataset.scope === "all") {
      // A pause names no machine: those where its run is shown.
      const shown = task ? live.querySelectorAll(`.machine [data-key="${CSS.escape(record.task_id)}"]`) : [];
      if (["closed", "opened", "octopus_unreachable", "octopus_reachable"].includes(record.kind)) ask(null);
      else {
        const here = isPaged() ? machines.filter(cardOf) : machines;
        ask([...here, ...Array.from(shown, (entry) => entry.closest(".machine").dataset.key)]);
      }
    } else {
      const own = (live.dataset.machines || "").split(" ");
      const isWhole = record.kind === "closed" || record.kind === "opened";
      if (isWhole || (task && task === live.dataset.task) || machines.some((machine) => own.includes(machine))) ask(null);
    }
  }

  // A browser allows six connections a host: tabs that nobody sees must not keep theirs.
  function rest() {
    source?.close();
    source = null;
    clearTimeout(retry);
  }

  if (!live) localTimes(document);
  else {
    // A form that was refused is answered at its own address.
    if (live.dataset.url && location.pathname !== live.dataset.url) history.replaceState(null, "", live.dataset.url);
    offset = Number(live.dataset.nowMs) - Date.now();
    tick(live);
    localTimes(live);
    setInterval(() => { if (!document.hidden) tick(live); }, SECOND);
    // Also notices a connection that died without a word.
    setInterval(() => { if (source) ask(null); }, 60 * SECOND);
    document.addEventListener("visibilitychange", () => (document.hidden ? rest() : connect()));
    addEventListener("pagehide", rest);
    addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
    if (!document.hidden) connect();
  }
})();
