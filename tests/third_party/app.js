// A small app on Slack's own Bolt for JavaScript: does it work with the fake Slack as it does with Slack?
"use strict";

const { App, LogLevel } = require("@slack/bolt");

const app = new App({
  token: process.env.SLACK_BOT_TOKEN,
  appToken: process.env.SLACK_APP_TOKEN,
  socketMode: true,
  logLevel: LogLevel.ERROR,
  clientOptions: { slackApiUrl: process.env.SLACK_API_URL },
});

const text = (words) => ({ type: "mrkdwn", text: words, verbatim: true });
const section = (words) => ({ type: "section", text: text(words) });
const button = { type: "button", action_id: "go", text: { type: "plain_text", text: "Go" }, value: "1" };

app.command("/unsubscribe-number", async ({ command, ack, client, respond }) => {
  await ack({ text: "private", blocks: [section("private")] });
  await client.chat.postMessage({
    channel: command.channel_id,
    text: "card of Bolt",
    blocks: [section("card of Bolt"), { type: "actions", elements: [button] }],
  });
  await respond({ text: "by response_url", blocks: [section("by response_url")] });
});

app.action("go", async ({ ack, body, client }) => {
  await ack();
  const message = { channel: body.channel.id, ts: body.message.ts, text: "done", blocks: [section("done")] };
  await client.chat.update({ ...message, parse: "none" });
  const view = { type: "modal", title: { type: "plain_text", text: "A modal" }, blocks: [section("opened")] };
  await client.views.open({ trigger_id: body.trigger_id, view });
});

app.event("app_home_opened", async ({ event, client }) => {
  await client.views.publish({ user_id: event.user, view: { type: "home", blocks: [section("home of Bolt")] } });
});

app.start();
