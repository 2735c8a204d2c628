// A bot in JavaScript: it repeats what a person says. REPLY_SECRET is the reply_secret of the secret.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

/** Whether the backend has signed this body, within the last five minutes. */
function isGenuine(header, body) {
  const { t = "", v1 = "" } = Object.fromEntries(header.split(",").map((part) => part.split("=")));
  if (!/^\d+$/.test(t) || Math.abs(Date.now() / 1000 - Number(t)) > 300) return false;
  const expected = createHmac("sha256", process.env.REPLY_SECRET).update(`${t}.`).update(body).digest();
  const signature = Buffer.from(v1, "hex");
  return signature.length === expected.length && timingSafeEqual(signature, expected);
}

function decide(turn) {
  const { text } = turn.events.at(-1);
  if (text === null) return {};
  const count = (turn.conversation.state?.count ?? 0) + 1;
  return { say: [`${count}: you said ${text}`], state: { count } };
}

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (!isGenuine(request.headers["x-messenger-signature-256"] ?? "", body)) {
    response.writeHead(401).end();
    return;
  }
  response.writeHead(200).end(JSON.stringify(decide(JSON.parse(body))));
}).listen(Number(process.env.PORT ?? 9100), "127.0.0.1");
