// Live numbers, values under the pointer, keys, copies. Every page is whole without it.
(() => {
  "use strict";
  const root = document.documentElement;
  const body = document.body;
  root.classList.add("has-script");
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const year = 31536000;
  const cookie = (name, value) => {
    document.cookie = `${name}=${encodeURIComponent(value)}; Path=/; Max-Age=${year}; SameSite=Lax`;
  };

  // The zone of the reader: the server knows it from the next page on.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = document.cookie.split("; ").some((it) => it === `lastseen-tz=${encodeURIComponent(zone)}`);
  if (zone && !known) {
    cookie("lastseen-tz", zone);
    const isKept = document.cookie.includes("lastseen-tz=");
    if (isKept && one("form.bar") && !new URLSearchParams(location.search).has("tz")) location.reload();
  }
  const zones = one("#zones");
  if (zones && Intl.supportedValuesOf) {
    const there = new Set(all("option", zones).map((option) => option.value));
    for (const name of Intl.supportedValuesOf("timeZone")) {
      if (!there.has(name)) zones.append(new Option("", name));
    }
  }

  const number = new Intl.NumberFormat(navigator.language);

  // Light and dark.
  one("[data-theme-switch]")?.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    cookie("lastseen-theme", root.dataset.theme);
  });

  // One pop-up at a time; a click beside it, or Escape, closes it.
  const pops = () => all("details.pop[open]");
  document.addEventListener("click", (event) => {
    for (const pop of pops()) if (!pop.contains(event.target)) pop.open = false;
  });

  if (innerWidth < 1100) for (const more of all("details.more")) more.open = false;

  // Copies.
  const copied = async (button, text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return;
    }
    const before = button.getAttribute("aria-label") ?? button.textContent;
    button.setAttribute("aria-label", "Copied");
    button.classList.add("is-copied");
    setTimeout(() => {
      button.setAttribute("aria-label", before);
      button.classList.remove("is-copied");
    }, 1500);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.copy !== undefined) copied(button, location.origin + button.dataset.copy);
    if (button.dataset.copyText !== undefined) copied(button, one("pre", button.parentElement).textContent);
    if (button.dataset.copyCurl !== undefined) {
      const key = one(".state form") ? " -H \"Authorization: Bearer $LASTSEEN_KEY\"" : "";
      copied(button, `curl -s${key} '${location.origin}${button.dataset.copyCurl}'`);
    }
    if (button.dataset.keys !== undefined) one("#keys").showModal();
  });

  // Values under the pointer, or under the arrow keys: the rows of the table beside the chart.
  const svgNames = "http://www.w3.org/2000/svg";
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  let shown = null;
  const hide = () => {
    if (!shown) return;
    shown.line.remove();
    tip.hidden = true;
    shown = null;
  };
  const tableOf = (svg) => one("table[data-rows]", svg.closest("section"));
  const show = (svg, index) => {
    const table = tableOf(svg);
    if (!table) return;
    const rows = table.tBodies[0].rows;
    const first = svg.dataset.last ? Math.max(0, rows.length - Number(svg.dataset.last)) : 0;
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    const row = rows[index + first];
    if (!row) return;
    hide();
    const x = Number(svg.dataset.x) + index * Number(svg.dataset.band);
    const line = document.createElementNS(svgNames, "path");
    line.setAttribute("class", "cross");
    line.setAttribute("d", `M${x} ${svg.dataset.top}V${svg.dataset.bottom}`);
    svg.append(line);
    const name = document.createElement("b");
    name.textContent = row.cells[0].textContent;
    tip.replaceChildren(name);
    for (let at = 1; at < Math.min(row.cells.length, 9); at += 1) {
      const entry = document.createElement("div");
      const [label, value] = [document.createElement("span"), document.createElement("span")];
      label.textContent = heads[at];
      const now = row.cells[at].textContent;
      const before = row.dataset.before ? JSON.parse(row.dataset.before)[at - 1] : now;
      value.textContent = before === now ? now : `${before} → ${now}`;
      entry.append(label, value);
      tip.append(entry);
    }
    const people = one("a", row.cells[0]);
    if (people) tip.append(Object.assign(document.createElement("p"), { textContent: "Click or Enter: who they are" }));
    svg.classList.toggle("has-people", Boolean(people));
    const frame = svg.parentElement;
    frame.append(tip);
    tip.hidden = false;
    const scale = svg.clientWidth / svg.viewBox.baseVal.width;
    const left = x * scale;
    const isEarly = x < svg.viewBox.baseVal.width / 3;
    const place = isEarly ? left + 12 : left - tip.offsetWidth - 12;
    tip.style.left = `${Math.max(0, Math.min(place, frame.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = "8px";
    shown = { svg, index, line, people };
  };
  const count = (svg) => {
    const rows = tableOf(svg)?.tBodies[0].rows.length ?? 0;
    return svg.dataset.last ? Math.min(rows, Number(svg.dataset.last)) : rows;
  };
  const prepare = (within) => {
    for (const svg of all(".chart > svg[data-band]", within)) {
      if (!tableOf(svg)) continue;
      svg.setAttribute("tabindex", "0");
      svg.addEventListener("pointermove", (event) => {
        const scale = svg.viewBox.baseVal.width / svg.clientWidth;
        const x = (event.clientX - svg.getBoundingClientRect().left) * scale;
        const index = Math.round((x - Number(svg.dataset.x)) / Number(svg.dataset.band));
        show(svg, Math.max(0, Math.min(count(svg) - 1, index)));
      });
      svg.addEventListener("pointerleave", hide);
      svg.addEventListener("blur", hide);
      // A tap shows the values; with a mouse they are there before the click.
      svg.addEventListener("click", (event) => {
        if (event.pointerType === "mouse") shown?.people?.click();
      });
      svg.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && shown?.svg === svg) shown.people?.click();
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const index = shown?.svg === svg ? shown.index + step : count(svg) - 1;
        show(svg, Math.max(0, Math.min(count(svg) - 1, index)));
      });
    }
  };
  prepare(document);

  // Days that were over and came out otherwise since the page was opened: a mark under the axis, and both numbers.
  const days = () => [...(one("#active table[data-rows]")?.tBodies[0].rows ?? [])];
  const values = (row) => [...row.cells].slice(1).map((cell) => cell.textContent);
  const opened = new Map();
  const markMoved = () => {
    const rows = days();
    if (!opened.size) for (const row of rows.slice(0, -1)) opened.set(row.cells[0].textContent, values(row));
    for (const mark of all("#active .moved")) mark.remove();
    rows.slice(0, -1).forEach((row, at) => {
      const before = opened.get(row.cells[0].textContent);
      if (!before || values(row).every((value, column) => value === before[column])) return;
      row.dataset.before = JSON.stringify(before);
      for (const svg of all("#active .chart > svg[data-band]")) {
        const index = at - Math.max(0, rows.length - Number(svg.dataset.last));
        if (index < 0) continue;
        const mark = document.createElementNS(svgNames, "path");
        mark.setAttribute("class", "moved");
        const x = Number(svg.dataset.x) + index * Number(svg.dataset.band);
        mark.setAttribute("d", `M${x} ${Number(svg.dataset.bottom) + 1}v6`);
        svg.append(mark);
      }
    });
  };

  markMoved();

  // Keys.
  let leader = false;
  const go = { o: "/", t: "/tenants", u: "/users", e: "/events" };
  // The place in a list belongs to its instant.
  const ofList = ["cursor", "page_number"];
  const shift = (days) => {
    const url = new URL(location);
    const at = new Date(body.dataset.at);
    if (Number.isNaN(at.getTime())) return;
    at.setUTCDate(at.getUTCDate() + days);
    for (const name of ofList) url.searchParams.delete(name);
    if (at > new Date()) url.searchParams.delete("as_of");
    else url.searchParams.set("as_of", at.toISOString());
    location.assign(url);
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const pop of pops()) {
        pop.open = false;
        one("summary", pop).focus();
      }
      hide();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    if (leader) {
      leader = false;
      const link = go[event.key] && one(`.top nav a[href^="${go[event.key]}"]`);
      if (link) link.click();
      return;
    }
    switch (event.key) {
      case "g":
        leader = true;
        break;
      case "/": {
        const field = one("input[type=search]");
        if (field) {
          event.preventDefault();
          field.focus();
        } else one('.top nav a[href^="/users"]')?.click();
        break;
      }
      case "[":
        shift(-1);
        break;
      case "]":
        if (body.classList.contains("is-past")) shift(1);
        break;
      case "n": {
        const url = new URL(location);
        for (const name of ["as_of", "known_at", ...ofList]) url.searchParams.delete(name);
        location.assign(url);
        break;
      }
      case "t": {
        const tables = all("details.table");
        const open = tables.some((table) => !table.open);
        for (const table of tables) table.open = open;
        break;
      }
      case "?":
        one("#keys")?.showModal();
        break;
      default:
    }
  });
  addEventListener("beforeprint", () => {
    for (const table of all("details.table")) table.open = true;
  });

  let pageAt = Date.now();
  let pagePosition = body.dataset.position;
  // Set where the page is live: what the stream said last is newer than a part that was kept.
  let afterRefresh = () => {};
  const kept = "section[id], .tiles, .title, .chips, .pages";
  const replace = (part, other) => {
    if (!other || other.innerHTML === part.innerHTML) return;
    const isMissing = one("[data-pending]", part);
    // The latest events come by the stream, and nobody's words are taken away.
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    if (!isMissing && (part.id === "latest" || focused?.matches("input, select"))) return;
    const focusables = "a, button, summary, svg[data-band], .rows, .scroll, [tabindex]";
    const place = focused ? all(focusables, part).indexOf(focused) : -1;
    const open = all("details", part).map((details) => details.open);
    const scrolled = all(".rows, .scroll", part).map((it) => [it.scrollLeft, it.scrollTop]);
    part.replaceChildren(...other.childNodes);
    all("details", part).forEach((details, at) => {
      details.open = open[at] ?? details.open;
    });
    all(".rows, .scroll", part).forEach((it, at) => it.scrollTo(...(scrolled[at] ?? [0, 0])));
    prepare(part);
    if (place >= 0) all(focusables, part)[place]?.focus({ preventScroll: true });
  };
  // Parts that changed are put in place of the old ones; the place of the reader stays.
  const load = async () => {
    pageAt = Date.now();
    let response;
    try {
      response = await fetch(location, { headers: { accept: "text/html" } });
    } catch {
      return;
    }
    if (response.redirected && new URL(response.url).pathname === "/sign-in") location.assign(response.url);
    if (!response.ok) {
      // A page of nothing but frames is a refusal in whole now.
      if (one("[data-pending]") && response.status < 500 && response.status !== 429) location.reload();
      return;
    }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    hide();
    // A server that nobody was seen on has a page of its own.
    if (!one("section[id]")) {
      if (one("section[id]", fresh)) location.reload();
      return;
    }
    const [main, freshMain] = [one("main"), one("main", fresh)];
    // As long as parts are missing, there is nothing in the page to keep: others may stand beside them then.
    if (one("[data-pending]", main) && !main.contains(document.activeElement)) {
      main.replaceChildren(...freshMain.childNodes);
      prepare(main);
    } else {
      const name = (part) => part.id || part.className;
      const others = new Map(all(kept, freshMain).map((part) => [name(part), part]));
      for (const part of all(kept, main)) replace(part, others.get(name(part)));
    }
    markMoved();
    pagePosition = fresh.body.dataset.position;
    body.dataset.position = pagePosition;
    const position = one("footer [data-position]");
    const other = one("footer [data-position]", fresh);
    if (position && other) position.textContent = other.textContent;
    else if (other) one("footer").prepend(other.parentElement);
  };
  const refresh = async () => {
    await load();
    afterRefresh();
    askAgain();
  };
  // Parts that take long are asked for again until they are there, less often the longer they take; those that are shown as
  // they were a while ago, until they are new.
  let pause = 200;
  let asking = null;
  const askAgain = () => {
    if (!one("[data-pending]")) pause = 200;
    if (asking || !one("main [data-pending], main .made")) return;
    asking = setTimeout(() => {
      asking = null;
      pause = Math.min(2 * pause, 1600);
      if (document.hidden) askAgain();
      else refresh();
    }, one("[data-pending]") ? pause : 5000);
  };
  askAgain();

  // Live numbers: one stream, passive while nobody looks; the page itself is asked for again at most four times a minute.
  const address = body.dataset.live;
  if (!address || !window.EventSource) return;
  const state = one(".live");
  const said = one(".live span");
  const seconds = new Intl.DateTimeFormat(navigator.language, { hour: "numeric", minute: "2-digit", second: "2-digit", timeZone: one("input[name=tz]")?.value });
  const refreshEvery = 15000;
  let stream = null;
  let lastMessage = null;
  let lastNumbers = null;
  let isPaused = false;
  let latestPosition = pagePosition;
  const words = { login: "Login", token_refresh: "Token refresh", tenant_switch: "Tenant switch", signup_complete: "Signup completed", estimated_activity: "Estimated activity", user_created: "Created", user_confirmed: "Confirmed", user_changed: "Changed", user_deleted: "Deleted", user_restored: "Restored" };

  const tell = (name, text) => {
    if (state.dataset.state !== name && state.dataset.state !== "still") one("[data-said]").textContent = text;
    state.dataset.state = name;
    said.textContent = text;
    body.classList.toggle("is-stale", name === "stale");
  };
  const shownEvents = 13;
  // Ids are unique within a tenant.
  const nameOf = (event) => `${event.tenant_id} ${event.id}`;
  // The page of a user shows the same zone and filters as this one.
  const shared = () => {
    const query = new URLSearchParams(location.search);
    for (const name of [...query.keys()]) if (!["tz", "types", "provenance", "of", "range"].includes(name)) query.delete(name);
    return query.size ? `?${query}` : "";
  };
  const line = (event) => {
    const item = document.createElement("li");
    item.dataset.id = nameOf(event);
    const time = document.createElement("time");
    time.dateTime = event.occurred_at;
    time.textContent = seconds.format(new Date(event.occurred_at));
    const what = document.createElement("span");
    what.textContent = words[event.type] ?? "Event";
    const who = document.createElement("a");
    who.className = "id";
    who.href = `/tenants/${encodeURIComponent(event.tenant_id)}/users/${encodeURIComponent(event.user_id)}${shared()}`;
    who.title = `${event.user_id} of ${event.tenant_id}`;
    who.textContent = event.user_id;
    item.append(time, what, who);
    return item;
  };
  const tail = (events) => {
    const list = one("[data-tail]");
    if (!list || isPaused || !events) return;
    // The newest come first: whatever stands before the first line that is there is new.
    const there = new Set([...list.children].map((item) => item.dataset.id));
    const newest = events.slice(0, shownEvents);
    const known = newest.findIndex((event) => there.has(nameOf(event)));
    for (const event of newest.slice(0, known < 0 ? newest.length : known).reverse()) list.prepend(line(event));
    while (list.children.length > shownEvents) list.lastElementChild.remove();
  };
  const numbers = (message) => {
    for (const field of all("[data-live*='/']")) {
      if (field === body) continue;
      const [window, name] = field.dataset.live.split("/");
      const value = message.windows.find((it) => it.window === window)?.[name];
      if (value === undefined || String(value) === field.value) continue;
      field.value = value;
      field.textContent = number.format(value);
    }
    const rate = one("[data-rate]");
    if (rate && message.events_per_second !== null) {
      rate.hidden = false;
      one("b", rate).textContent = number.format(Math.round(message.events_per_second * 10) / 10);
    }
  };
  // Also where nothing more comes after one event.
  let planned = null;
  const plan = () => {
    if (planned || latestPosition === pagePosition) return;
    planned = setTimeout(() => {
      planned = null;
      if (!document.hidden) refresh();
    }, Math.max(0, pageAt + refreshEvery - Date.now()));
  };
  afterRefresh = () => {
    if (lastNumbers && stream) numbers(lastNumbers);
    plan();
  };
  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(address);
    stream.addEventListener("now", (event) => {
      lastMessage = Date.now();
      latestPosition = event.lastEventId;
      const message = JSON.parse(event.data);
      lastNumbers = message;
      numbers(message);
      tail(message.events);
      const newest = message.events?.[0];
      tell("live", newest ? `Live, last event ${seconds.format(new Date(newest.occurred_at))}` : "Live");
      const isEmpty = !one("main .tiles:not(.facts)");
      if (isEmpty) refresh();
      else plan();
    });
    stream.addEventListener("error", () => {
      const since = seconds.format(new Date(lastMessage ?? pageAt));
      tell("stale", `Not updated since ${since}. Trying again.`);
      if (stream.readyState === EventSource.CLOSED) {
        close();
        // A session that is over leads to the page to sign in.
        refresh();
        setTimeout(open, 4000);
      }
    });
  };
  const close = () => {
    stream?.close();
    stream = null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pause]");
    if (!button) return;
    isPaused = !isPaused;
    button.textContent = isPaused ? "Go on" : "Pause";
  });
  open();
})();
