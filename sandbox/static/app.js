// The demo's page: shows the fake workspace as one person sees it, and what goes over the wire behind it.
"use strict";

const byId = (id) => document.getElementById(id);
const COLOURS = ["#7c3085", "#0f6285", "#8f4c10", "#2a6239"];
const GROUP_SECONDS = 300;
const DIRECTIONS = { slack: "Slack → bot", api: "bot → Slack", cellcast: "bot → Cellcast", ledger: "ledger", bot: "bot" };
const STATES = { succeeded: "good", refused: "bad", unknown: "bad", confirmed: "wait", pending: "wait" };
let state = null;
let you = null;
let seenDialogs = 0;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// The value of a setting whose box is checked.
const on = (input) => input.dataset.on ?? "true";

const hour = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

async function send(what, body) {
  const answer = await fetch(what, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ user: you, ...body }),
  });
  const said = await answer.json();
  if (!answer.ok) byId("said").textContent = said.error;
  return answer.ok ? said : null;
}

// Slack's mrkdwn, as far as the bot uses it: dates, mentions, channels, links, `code`, *bold*.

const unescape = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
const MARKS = /<!date\^(\d+)\^([^|>]+)\|([^>]*)>|<@([^>]+)>|<#([^>]+)>|<(https?:[^|>]+)\|([^>]+)>|`([^`\n]+)`|\*([^*\n]+)\*/g;

function mrkdwn(text, into) {
  let end = 0;
  for (const match of text.matchAll(MARKS)) {
    into.append(unescape(text.slice(end, match.index)));
    end = match.index + match[0].length;
    const [, seconds, , , user, channel, url, label, code, bold] = match;
    if (seconds) {
      const time = element("time", "", `today at ${hour(seconds)}`);
      time.title = new Date(seconds * 1000).toLocaleString();
      into.append(time);
    } else if (user) into.append(element("span", "mention", `@${nameOf(user)}`));
    else if (channel) into.append(element("span", "mention", "#numbers"));
    else if (url) into.append(cardLink(url, unescape(label)));
    else if (code) into.append(element("code", "", unescape(code)));
    else mrkdwn(bold, into.appendChild(element("strong")));
  }
  into.append(unescape(text.slice(end)));
}

function cardLink(url, label) {
  const link = element("a", "", label);
  const digits = url.split("/p").pop();
  link.addEventListener("click", () => go("channel")); // it may be clicked in the audit channel
  link.href = `#m${digits.slice(0, -6)}.${digits.slice(-6)}`;
  return link;
}

function nameOf(user) {
  return state.people.find((person) => person.id === user)?.name ?? (user === state.bot ? "Cellcast Numbers" : "Slackbot");
}

// Block Kit, as far as the bot uses it. `where` knows how a click and a choice are sent from here.

function textObject(object, into) {
  if (object.type === "plain_text") into.append(object.text);
  else mrkdwn(object.text, into);
}

function block(spec, where) {
  if (spec.type === "divider") return element("hr");
  const made = element(spec.type === "header" ? "h2" : "div", spec.type);
  if (spec.text) textObject(spec.text, spec.accessory ? made.appendChild(element("div")) : made);
  if (spec.accessory) made.append(menu(spec.accessory, where));
  if (spec.accessory) made.classList.add("with-menu");
  if (spec.type === "context") spec.elements.forEach((object) => textObject(object, made));
  if (spec.type === "actions") spec.elements.forEach((button) => made.append(buttonOf(button, where)));
  return made;
}

function buttonOf(spec, where) {
  const made = element("button", spec.style ?? "", spec.text.text);
  made.type = "button";
  made.addEventListener("click", async () => {
    if (!spec.confirm || (await confirmed(spec.confirm))) where.click(spec);
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

let menus = 0;

// A menu whose options the bot gives while a person types (external_select): a combobox.
function menu(spec, where) {
  const made = element("div", "menu");
  const input = made.appendChild(element("input"));
  const list = made.appendChild(element("ul"));
  list.id = `menu-${(menus += 1)}`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", spec.placeholder.text);
  list.hidden = true;
  const named = { role: "combobox", "aria-label": spec.placeholder.text, "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list", autocomplete: "off", placeholder: spec.placeholder.text };
  for (const [name, value] of Object.entries(named)) input.setAttribute(name, value);
  let options = [];
  let at = -1;
  let searches = 0;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (option) => { close(); where.choose(option); };
  const mark = (index) => {
    at = index;
    [...list.children].forEach((line, i) => line.setAttribute("aria-selected", String(i === at)));
    const line = list.children[at];
    if (line?.id) input.setAttribute("aria-activedescendant", line.id);
    line?.scrollIntoView({ block: "nearest" });
  };
  const load = async () => {
    const mine = (searches += 1);
    const found = (await where.typing(input.value)) ?? [];
    if (mine !== searches) return;
    options = found;
    list.replaceChildren(...options.map((option, i) => {
      const line = element("li", "", option.text.text);
      line.id = `${list.id}-${i}`;
      line.setAttribute("role", "option");
      line.append(element("small", "", option.description?.text ?? ""));
      line.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(option); });
      return line;
    }));
    if (!options.length) {
      const none = element("li", "", "No results");
      none.setAttribute("role", "option");
      none.setAttribute("aria-disabled", "true");
      list.append(none);
    }
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    list.scrollIntoView({ block: "nearest" });
    mark(options.length ? 0 : -1);
  };
  let timer;
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(load, 120); });
  input.addEventListener("focus", load);
  // Not at once: what lies below would move away under the pointer that is just clicking it.
  input.addEventListener("blur", () => setTimeout(close, 200));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && options.length) { event.preventDefault(); list.hidden ? load() : mark((at + step + options.length) % options.length); }
    if (event.key === "Enter" && !list.hidden && options[at]) { event.preventDefault(); choose(options[at]); }
    if (event.key === "Escape" && !list.hidden) event.preventDefault(); // it closes the list, and not the modal around it
    if (event.key === "Escape") { clearTimeout(timer); searches += 1; close(); } // what is still on its way opens it no more
  });
  return made;
}

// The channel

const onMessage = (note) => ({
  click: (spec) => send("click", { ts: note.ts, label: spec.text.text }),
  typing: (text) => send("typing", { ts: note.ts, text }),
  choose: (option) => send("choose", { ts: note.ts, option }),
});

function message(note, follows) {
  const line = element("li", `message${note.to ? " private" : ""}${follows ? " follows" : ""}${note.thread ? " reply" : ""}`);
  line.id = `m${note.ts}`;
  line.tabIndex = -1;
  const name = nameOf(note.author);
  const body = element("div", "body");
  if (follows) line.append(element("time", "", hour(note.ts)));
  else {
    const avatar = element("div", "avatar", name[0].toUpperCase());
    const index = state.people.findIndex((person) => person.id === note.author);
    avatar.style.background = index < 0 ? "#1d4f8b" : COLOURS[index % COLOURS.length];
    avatar.setAttribute("aria-hidden", "true");
    line.append(avatar);
  }
  if (note.to) {
    const only = element("span", "only");
    const eye = element("span", "", "◉");
    eye.setAttribute("aria-hidden", "true");
    only.append(eye, "Only visible to you");
    body.append(only);
  }
  if (note.thread) body.append(element("span", "only", "Reply in the thread"));
  const head = element("span", follows ? "unseen" : "head");
  head.append(element("span", "name", name));
  if (note.author === state.bot) head.append(element("span", "badge", "APP"));
  if (!follows) head.append(element("time", "", hour(note.ts)));
  body.append(head);
  if (note.blocks.length) note.blocks.forEach((spec) => body.append(block(spec, onMessage(note))));
  else mrkdwn(note.text, body.appendChild(element("div", "section")));
  if (note.edited) body.append(element("span", "edited", "(edited)"));
  line.append(body);
  return line;
}

const shown = new Map(); // ts: what the line was made from, and the line; what has not changed keeps its focus

function showMessages() {
  const list = byId("messages");
  const log = byId("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const mine = state.notes.filter((note) => !note.to || note.to === you);
  // Slack shows a thread beside the channel; here its replies stand below their message.
  const seen = mine.filter((note) => !note.thread).flatMap((note) => [note, ...mine.filter((reply) => reply.thread === note.ts)]);
  let before = null;
  const lines = seen.map((note) => {
    const follows = before !== null && before.author === note.author && before.to === note.to && before.thread === note.thread && note.ts - before.ts < GROUP_SECONDS;
    before = note;
    const made = JSON.stringify([note, follows]);
    const old = shown.get(note.ts);
    if (old?.made === made) return old.line;
    const line = message(note, follows);
    if (!old && shown.size) line.classList.add("fresh");
    if (old?.line.contains(document.activeElement)) requestAnimationFrame(() => line.focus());
    shown.set(note.ts, { made, line });
    return line;
  });
  const day = list.querySelector(".day") ?? element("li", "day", "Today");
  const wanted = [day, ...lines];
  wanted.forEach((line, i) => { if (list.children[i] !== line) list.insertBefore(line, list.children[i] ?? null); });
  while (list.children.length > wanted.length) list.lastChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

let auditMade = "";

function showAudit() {
  byId("show-audit").hidden = !state.settings.AUDIT_CHANNEL;
  const made = JSON.stringify(state.audit);
  if (made === auditMade) return;
  auditMade = made;
  byId("audit-lines").replaceChildren(...state.audit.map((note) => message(note, false)));
}

// The App Home, and dialogs

let homeMade = "";

function showHome() {
  const view = state.homes[you] ?? [];
  const made = JSON.stringify([you, view]);
  if (made === homeMade) return;
  homeMade = made;
  const where = { click: (spec) => send("click_in_home", { value: spec.value, label: spec.text.text }) };
  byId("home-view").replaceChildren(...view.map((spec) => block(spec, where)));
}

// A modal is a stack of views: one that the bot pushes lies on the one before, which keeps what was entered.
let stack = [];

function showDialogs() {
  const mine = state.dialogs.slice(seenDialogs).filter((dialog) => dialog.to === you);
  seenDialogs = state.dialogs.length;
  if (!mine.length || byId("modal").open) return;
  stack = [viewOf(mine[mine.length - 1].view)];
  showView();
  byId("modal").showModal();
  byId("modal-view").querySelector("[data-focus]")?.focus();
}

function showView() {
  const { view, node } = stack[stack.length - 1];
  byId("modal-title").textContent = view.title.text;
  byId("modal-view").replaceChildren(node);
  byId("modal-close").textContent = view.close.text;
  byId("modal-submit").hidden = !view.submit;
  byId("modal-submit").textContent = view.submit?.text ?? "";
}

function viewOf(view) {
  const made = { view, node: element("div"), fields: new Map() };
  for (const spec of view.blocks) made.node.append(spec.type === "input" ? field(spec, made) : block(spec, {}));
  return made;
}

// An input block. `made.fields` has for each a function that returns what was entered, and one that shows an error.
function field(spec, made) {
  const box = element("div", "field");
  const error = element("p", "error");
  error.id = `error-${spec.block_id}`;
  error.setAttribute("role", "alert");
  const name = element("label", "", spec.label.text);
  if (spec.optional) name.append(element("small", "", " (optional)"));
  const [control, value] = controlOf(spec.element);
  const input = control.matches("input, select") ? control : control.querySelector("input");
  input.id = `field-${spec.block_id}`;
  name.htmlFor = input.id;
  input.setAttribute("aria-describedby", error.id);
  if (spec.element.focus_on_load) input.dataset.focus = "";
  box.append(name, control, error);
  made.fields.set(spec.block_id, {
    spec,
    value,
    say: (text) => { error.textContent = text; input.setAttribute("aria-invalid", String(Boolean(text))); },
  });
  return box;
}

function controlOf(spec) {
  if (spec.type === "external_select") {
    let chosen = spec.initial_option ?? null;
    const made = menu(spec, {
      typing: (text) => send("form_typing", { text }),
      choose: (option) => { chosen = option; made.querySelector("input").value = option.text.text; },
    });
    const input = made.querySelector("input");
    input.removeAttribute("aria-label");
    input.value = chosen?.text.text ?? "";
    input.addEventListener("input", () => { chosen = null; });
    return [made, () => chosen];
  }
  if (spec.type === "conversations_select") {
    const made = element("select");
    made.add(new Option(spec.placeholder.text, ""));
    made.add(new Option(`# ${state.channel.name}`, state.channel.id));
    made.value = spec.initial_conversation ?? "";
    return [made, () => made.value];
  }
  const made = element("input");
  Object.assign(made, { placeholder: spec.placeholder?.text ?? "", maxLength: spec.max_length ?? 3000, autocomplete: "off" });
  return [made, () => made.value];
}

// Slack's client sends no form with an empty required field, or a text that is too short.
function incomplete({ spec, value }) {
  const entered = value();
  if (!entered) return spec.optional ? "" : "Please complete this required field.";
  const least = spec.element.min_length ?? 0;
  return entered.length < least ? `Please enter at least ${least} characters.` : "";
}

async function submit() {
  if (byId("modal-submit").disabled) return; // the answer is on its way
  const { view, fields } = stack[stack.length - 1];
  const given = {};
  let errors = {};
  for (const [name, found] of fields) {
    given[name] = found.value();
    errors[name] = incomplete(found);
  }
  if (!Object.values(errors).some(Boolean)) {
    byId("modal-submit").disabled = true;
    const answer = await send("submit", { view, given });
    byId("modal-submit").disabled = false;
    if (!answer) return;
    if (answer.response_action !== "errors") {
      if (answer.response_action === "update") stack.pop();
      if (answer.view) { stack.push(viewOf(answer.view)); showView(); } else byId("modal").close();
      return;
    }
    errors = answer.errors;
  }
  for (const [name, { say }] of fields) say(errors[name] ?? "");
}

byId("modal-submit").addEventListener("click", submit);
byId("modal-view").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(".field > input")) submit();
});
byId("modal-close").addEventListener("click", () => {
  stack.pop();
  if (stack.length) showView();
  else byId("modal").close();
});

function go(view) {
  document.body.dataset.view = view;
  byId("channel").hidden = ["home", "audit"].includes(view);
  byId("audit").hidden = view !== "audit";
  byId("home").hidden = view !== "home";
  document.querySelectorAll("[data-show]").forEach((button) => {
    if (button.dataset.show === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  });
  if (view === "home") send("home", {});
}

// Behind the scenes

const stepLines = new Map();

function step(found) {
  const made = JSON.stringify([found.result, found.ms]);
  const old = stepLines.get(found.number);
  if (old?.made === made) return old.line;
  const line = element("li", found.kind);
  const head = element(found.detail ? "summary" : "div");
  head.append(element("span", "who", `${DIRECTIONS[found.kind]}: `), found.title);
  const timed = found.ms !== null && ["slack", "cellcast"].includes(found.kind);
  const result = [found.result, timed ? `${Math.round(found.ms)} ms` : ""].filter(Boolean).join(" · ");
  if (result) head.append(element("span", "result", ` ${result}`));
  if (found.detail) {
    const details = line.appendChild(element("details"));
    const detail = element("pre", "", found.detail);
    detail.tabIndex = 0;
    details.append(head, detail);
    details.open = old?.line.querySelector("details")?.open ?? false;
  } else line.append(head);
  stepLines.set(found.number, { made, line });
  return line;
}

function row(found) {
  const made = element("tr");
  const number = element("td", "", found.label ?? found.phone ?? `…${found.number_id.slice(-6)}`);
  number.title = found.number_id;
  const now = element("td");
  now.append(element("span", `state ${STATES[found.status] ?? "off"}`, found.status));
  if (found.attempt > 1) now.append(`, attempt ${found.attempt}`);
  const ended = !["pending", "confirmed"].includes(found.status);
  made.append(number, now, element("td", "", ended ? (found.undelivered ? "not yet" : "yes") : ""));
  return made;
}

function showWire() {
  byId("calls").textContent = state.calls;
  byId("calls-word").textContent = state.calls === 1 ? "call" : "calls";
  byId("alive").textContent = state.alive ? "The bot runs" : "The bot is down";
  byId("alive").className = `state ${state.alive ? "good" : "bad"}`;
  byId("drop").textContent = state.dropping ? "Slack drops the next message" : "Slack drops a message";
  byId("drop").setAttribute("aria-pressed", String(state.dropping > 0));
  byId("timeout").setAttribute("aria-pressed", String(state.next === "timeout"));
  const next = byId("next");
  if (!next.options.length) state.answers.forEach((answer) => next.add(new Option(answer)));
  next.value = state.next;
  const owner = byId("list");
  if (!owner.options.length) state.lists.forEach((choice) => owner.add(new Option(choice)));
  owner.value = state.list;
  document.querySelectorAll("[data-setting]").forEach((input) => {
    const value = state.settings[input.dataset.setting];
    if (input.type === "checkbox") input.checked = value === on(input);
    else input.value = value;
    input.disabled = !state.alive;
  });
  byId("kill").disabled = !state.alive;
  byId("ledger").replaceChildren(...state.ledger.map(row));
  const list = byId("steps");
  const wanted = state.wire.map(step).reverse();
  wanted.forEach((line, i) => { if (list.children[i] !== line) list.insertBefore(line, list.children[i] ?? null); });
  while (list.children.length > wanted.length) list.lastChild.remove();
}

function showPeople() {
  const fieldset = byId("people");
  if (fieldset.querySelector("input")) return;
  for (const person of state.people) {
    const label = element("label");
    const input = element("input");
    Object.assign(input, { type: "radio", name: "you", value: person.id, checked: person.id === you });
    input.addEventListener("change", () => {
      you = person.id;
      seenDialogs = state.dialogs.length;
      if (!byId("home").hidden) send("home", {});
      show();
    });
    label.append(input, person.name, element("small", "", person.may ? "has permission" : "no permission"));
    fieldset.append(label);
  }
}

function show() {
  you ??= state.people[0].id;
  showPeople();
  showMessages();
  showAudit();
  showHome();
  showDialogs();
  showWire();
}

// What a person does

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (!text) return;
  byId("text").value = "";
  send("type", { text });
});
document.querySelectorAll(".chips button").forEach((chip) => chip.addEventListener("click", () => {
  byId("text").value = chip.textContent;
  byId("text").focus();
}));
document.querySelectorAll("[data-show]").forEach((button) => button.addEventListener("click", () => go(button.dataset.show)));

async function breaking(id, what, body, said) {
  byId("said").textContent = said;
  await send(what, body);
}
byId("timeout").addEventListener("click", () => breaking("timeout", "next", { answer: "timeout" }, "The next call gets no answer."));
byId("drop").addEventListener("click", () => breaking("drop", "drop", {}, "The bot's next message gets lost on its way to Slack."));
byId("kill").addEventListener("click", () => breaking("kill", "kill", {}, "Killed; its supervisor starts it again in two seconds."));
byId("twice").addEventListener("click", () => breaking("twice", "twice", {}, "Ana and Ben click the same button at the same moment."));
byId("list").addEventListener("change", () => breaking("list", "change_list", { choice: byId("list").value }, "The owner has changed the list of numbers."));
byId("next").addEventListener("change", () => send("next", { answer: byId("next").value }));
document.querySelectorAll("[data-setting]").forEach((input) => input.addEventListener("change", () => {
  byId("said").textContent = "The bot restarts with this setting.";
  send("setting", { name: input.dataset.setting, value: input.type === "checkbox" ? (input.checked ? on(input) : input.dataset.off ?? "false") : input.value });
}));

function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Switch to ${name === "dark" ? "light" : "dark"} colours`);
}
byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

new EventSource("events").addEventListener("message", (event) => {
  state = JSON.parse(event.data);
  show();
});
