// The demo's page: shows the stand-in channel as one person sees it, and sends what that person types and presses.
"use strict";

const byId = (id) => document.getElementById(id);
const COLOURS = ["#7c3085", "#11678f", "#9c5413", "#2d6a3f"];
let state = null;
let you = null;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const unescape = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

// Slack's mrkdwn, as far as the bot uses it: dates, mentions, channels, links, `code`, *bold*.
const MARKS = /<!date\^(\d+)\^([^|>]+)\|([^>]*)>|<@([^>]+)>|<#([^>]+)>|<(https?:[^|>]+)\|([^>]+)>|`([^`\n]+)`|\*([^*\n]+)\*/g;

function mrkdwn(text, into) {
  let end = 0;
  for (const match of text.matchAll(MARKS)) {
    into.append(unescape(text.slice(end, match.index)));
    end = match.index + match[0].length;
    const [, seconds, , , user, channel, url, label, code, bold] = match;
    if (seconds) {
      const when = new Date(seconds * 1000);
      const time = element("span", "", `today at ${when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`);
      time.title = when.toLocaleString();
      into.append(time);
    } else if (user) into.append(element("span", "mention", `@${nameOf(user)}`));
    else if (channel) into.append(element("span", "mention", "#numbers"));
    else if (url) {
      const link = element("a", "", unescape(label));
      link.href = "#messages";
      into.append(link);
    } else if (code) into.append(element("code", "", unescape(code)));
    else mrkdwn(bold, into.appendChild(element("strong")));
  }
  into.append(unescape(text.slice(end)));
}

function nameOf(user) {
  return state.people.find((person) => person.id === user)?.name ?? (user === state.bot ? "Cellcast Bot" : user);
}

function textObject(object, into) {
  if (object.type === "plain_text") into.append(object.text);
  else mrkdwn(object.text, into);
}

function block(note, spec) {
  const made = element("div", spec.type);
  if (spec.type === "section") textObject(spec.text, made);
  if (spec.type === "context") spec.elements.forEach((object) => textObject(object, made));
  if (spec.type === "actions") spec.elements.forEach((spec) => made.append(button(note, spec)));
  return made;
}

function button(note, spec) {
  const made = element("button", spec.style ?? "", spec.text.text);
  made.type = "button";
  made.addEventListener("click", async () => {
    if (!spec.confirm || (await confirmed(spec.confirm))) send("press", { ts: note.ts, label: spec.text.text });
  });
  return made;
}

function confirmed(spec) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = spec.title.text;
  byId("confirm-text").textContent = spec.text.text;
  byId("confirm-no").textContent = spec.deny.text;
  byId("confirm-yes").textContent = spec.confirm.text;
  byId("confirm-yes").className = spec.style ?? "";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
  });
}

function message(note) {
  const line = element("li", note.to ? "private" : "");
  const name = nameOf(note.author);
  const avatar = element("div", "avatar", name[0].toUpperCase());
  const index = state.people.findIndex((person) => person.id === note.author);
  avatar.style.background = index < 0 ? "#1d4f8b" : COLOURS[index % COLOURS.length];
  avatar.setAttribute("aria-hidden", "true");
  const body = element("div", "body");
  if (note.to) body.append(element("span", "only", "Only visible to you"));
  body.append(element("span", "name", name));
  if (note.author === state.bot) body.append(element("span", "badge", "APP"));
  const at = new Date(note.ts * 1000);
  body.append(element("time", "", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
  if (note.blocks.length) note.blocks.forEach((spec) => body.append(block(note, spec)));
  else mrkdwn(note.text, body.appendChild(element("div", "section")));
  if (note.edited) body.append(element("span", "edited", "(edited)"));
  line.append(avatar, body);
  return line;
}

function choices(fieldset, name, options, chosen, choose) {
  if (fieldset.querySelector("input")) {
    fieldset.querySelectorAll("input").forEach((input) => { input.checked = input.value === chosen; });
    return;
  }
  for (const { value, label, hint } of options) {
    const row = element("label");
    const input = element("input");
    Object.assign(input, { type: "radio", name, value, checked: value === chosen });
    input.addEventListener("change", () => choose(value));
    row.append(input, label);
    if (hint) row.append(element("small", "", hint));
    fieldset.append(row);
  }
}

function show() {
  you ??= state.people[0].id;
  const people = state.people.map((p) => ({ value: p.id, label: p.name, hint: p.may ? "may unsubscribe" : "may not" }));
  choices(byId("people"), "you", people, you, (id) => { you = id; show(); });
  const answers = state.answers.map((answer) => ({ value: answer, label: answer[0].toUpperCase() + answer.slice(1) }));
  choices(byId("answers"), "next", answers, state.next, (answer) => send("next", { answer }));
  byId("calls").textContent = state.calls;
  byId("calls-word").textContent = state.calls === 1 ? "call" : "calls";
  const list = byId("messages");
  const seen = state.notes.filter((note) => !note.to || note.to === you);
  list.replaceChildren(...seen.map(message));
  list.scrollTop = list.scrollHeight;
}

function send(what, body) {
  return fetch(what, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user: you, ...body }) });
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (text) send("type", { text });
});

new EventSource("events").addEventListener("message", (event) => {
  state = JSON.parse(event.data);
  show();
});
