// The page as it is kept up to date. The server renders everything; this puts changed parts in their place.
"use strict";
const $ = (id) => document.getElementById(id);
const made = (html) => { const t = document.createElement("template"); t.innerHTML = html; return t.content.firstElementChild; };
const typing = (el) => el && el.contains(document.activeElement) && document.activeElement.matches("textarea, input");
const root = document.body.dataset.root || "";  // below which the repository of this page is served
let source, heard = 0, log = true;

function put(el, html) {
  if (typing(el)) { document.activeElement.addEventListener("blur", () => put(el, html), { once: true }); return; }
  const asked = new Set([...el.querySelectorAll("details[open] [value]")].map((b) => b.value));
  const at = el.contains(document.activeElement);
  const fresh = made(html);
  for (const b of fresh.querySelectorAll("details [value]")) if (asked.has(b.value)) b.closest("details").open = true;
  el.replaceWith(fresh);
  if (at) fresh.focus({ preventScroll: true });
}

function take(change) {
  if (change.reload) return location.reload();
  if (change.title) document.title = change.title;
  for (const [id, html] of Object.entries(change.heads || {})) { const el = $(id); if (el && !typing(el)) el.innerHTML = html; }
  for (const [id, html] of Object.entries(change.items || {})) { const el = $(id); if (el) put(el, html); }
  for (const [id, order] of Object.entries(change.lists || {})) {
    const list = $(id); if (!list) continue;
    const wanted = new Set(order);
    for (const el of [...list.children]) if (!wanted.has(el.id)) el.remove();
    list.parentElement.classList.toggle("none", !order.length);
    let next = list.firstElementChild;
    for (const item of order) {
      let el = $(item);
      if (!el || el.parentElement !== list) { if (el) el.remove(); el = made((change.items || {})[item] || "<i></i>"); }
      if (el !== next) list.insertBefore(el, next); else next = next.nextElementSibling;
    }
  }
  for (const [id, text] of Object.entries(change.tails || {})) { const el = $(id); if (el) el.textContent = text; }
  if (change.log !== undefined && $("log")) {
    const el = $("log"), end = el.scrollHeight - el.scrollTop - el.clientHeight < 40;
    if (change.fresh) el.textContent = "";
    el.append(change.log);
    if (el.textContent.length > 600000) el.textContent = el.textContent.slice(-400000);
    if (end || log) el.scrollTop = el.scrollHeight;
    log = false;
  }
  if (change.at) document.body.dataset.at = change.at;
  count();
}

function listen() {
  if (source) source.close();
  const url = new URL(root + "/live" + location.pathname.slice(root.length) + location.search, location.origin);
  url.searchParams.set("since", document.body.dataset.held || "");
  source = new EventSource(url);
  source.onmessage = (event) => { heard = Date.now(); if (event.lastEventId) document.body.dataset.held = event.lastEventId; take(JSON.parse(event.data)); };
  source.addEventListener("alive", () => { heard = Date.now(); });
}

const span = (s) => s < 60 ? `${s}s` : s < 3600 ? `${Math.floor(s / 60)}m` : s < 86400 ? `${Math.floor(s / 3600)}h${Math.floor(s % 3600 / 60)}m` : `${Math.floor(s / 86400)}d`;
const age = (at) => Math.max(0, Math.round((Date.now() - Date.parse(at)) / 1000));
function count() {
  for (const el of document.querySelectorAll("time[data-ago]")) el.textContent = span(age(el.dateTime)) + el.dataset.ago;
  for (const el of document.querySelectorAll("time[data-until]")) { const s = Math.round((Date.parse(el.dateTime) - Date.now()) / 1000); el.textContent = s > 0 ? `in ${span(s)}` : "any moment"; }
  for (const el of document.querySelectorAll("[data-quiet]")) { const s = age(el.dataset.quiet); el.textContent = s >= 120 ? `quiet for ${span(s)}` : ""; }
  const lost = heard && Date.now() - heard > 8000;
  $("live").className = lost ? "lost" : "";
  $("live").textContent = lost ? "not connected" : document.body.dataset.at ? `seen ${span(age(document.body.dataset.at))} ago` : "looking…";
}

function toast(html, bad) {
  const el = document.createElement("div"), found = new DOMParser().parseFromString(html, "text/html").getElementById("result");
  el.className = bad ? "toast bad" : "toast"; el.append(found || "no answer");
  $("toasts").replaceChildren(el); if (!bad) setTimeout(() => el.remove(), 6000);
}

document.addEventListener("submit", async (event) => {
  if (event.target.id !== "act") return;
  event.preventDefault();
  const button = event.submitter, body = new URLSearchParams(new FormData(event.target, button));
  button.disabled = true;
  try { const answer = await fetch(root + "/act", { method: "POST", body }); toast(await answer.text(), !answer.ok); if (answer.ok) button.closest("details")?.removeAttribute("open"); }
  catch (error) { toast(`<p id="result">not sent: the page is not served any more</p>`, true); }
  button.disabled = false;
});

// Out of what is asked, back to the card that it is about.
function leave(at) {
  const card = at.closest(".card")?.id, box = at.closest(".card, #b-acts")?.querySelector(".ask[open]");
  if (box) box.open = false;
  at.blur(); // which may bring a newer card
  if (card) $(card)?.focus({ preventScroll: true });
}

let typed = 0;
$("search")?.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    const url = new URL(location.href), words = new FormData($("search")).get("q");
    if (words) url.searchParams.set("q", words); else url.searchParams.delete("q");
    history.replaceState(null, "", url); listen();
  }, 150);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") { leave(document.activeElement); $("toasts").replaceChildren(); return; }
  if (event.target.matches("input, textarea, select")) return;
  const cards = [...document.querySelectorAll(".card")], here = document.activeElement.closest?.(".card") || null;
  const go = (n) => { const el = cards[Math.min(Math.max(n, 0), cards.length - 1)]; if (el) { el.focus(); el.scrollIntoView({ block: "nearest", inline: "nearest" }); } };
  if (keydown.g) { keydown.g = false; [...document.querySelectorAll("[data-go]")].find((el) => el.dataset.go === event.key)?.click(); return; }
  switch (event.key) {
    case "/": event.preventDefault(); document.querySelector("#search input")?.focus(); break;
    case "?": $("keys").open ? $("keys").close() : $("keys").showModal(); break;
    case "j": go(cards.indexOf(here) + 1); break;
    case "k": go(cards.indexOf(here) - 1); break;
    case "g": keydown.g = true; setTimeout(() => { keydown.g = false; }, 1000); break;
    case "Enter": if (document.activeElement === here) here?.querySelector("a")?.click(); break;
    default: {
      const el = /^[a-z]$/.test(event.key) && (here || $("b-acts"))?.querySelector(`[data-key="${event.key}"]`);
      if (!el) break;
      event.preventDefault(); el.click();
      if (el.matches("summary")) el.parentElement.querySelector("textarea, button")?.focus();
    }
  }
});
const keydown = { g: false };

listen(); count(); setInterval(count, 1000);
