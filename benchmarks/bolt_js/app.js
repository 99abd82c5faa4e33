// (d) Bolt for JavaScript, as its documentation shows it: ack first, then the calls; nothing kept.
const { App } = require("@slack/bolt");

const app = new App({
  token: process.env.SLACK_BOT_TOKEN,
  signingSecret: process.env.SLACK_SIGNING_SECRET,
  clientOptions: { slackApiUrl: process.env.SLACK_API_URL },
  customRoutes: [{ path: "/healthz", method: "GET", handler: (_req, res) => res.writeHead(200).end() }],
});

app.command("/unsubscribe-number", async ({ ack, command, client }) => {
  await ack();
  const text = `Unsubscribe \`${command.text}\` ?`;
  const button = { type: "button", action_id: "go", value: command.text, text: { type: "plain_text", text: "Go" } };
  const blocks = [
    { type: "section", text: { type: "mrkdwn", text } },
    { type: "actions", elements: [button] },
  ];
  await client.chat.postMessage({ channel: command.channel_id, text, blocks });
});

app.action("go", async ({ ack, body, client }) => {
  await ack();
  const number = body.actions[0].value;
  const url = `${process.env.CELLCAST_BASE_URL}/api/v1/apiClient/virtual-number/unsubscribe/${number}`;
  const headers = { Authorization: `Bearer ${process.env.CELLCAST_API_KEY}` };
  const { message } = await (await fetch(url, { method: "PUT", headers })).json();
  const ts = body.container.message_ts;
  await client.chat.update({ channel: body.channel.id, ts, text: `\`${number}\` done`, blocks: [] });
  await client.chat.postMessage({ channel: body.channel.id, text: `${message} \`${number}\`` });
});

app.start({ port: Number(process.env.PORT), host: "127.0.0.1" });
