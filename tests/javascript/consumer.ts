// A page in TypeScript: what it may write, and, by @ts-expect-error, what it may not.  It is only compiled.

import { ChatClient, ChatError } from "flask-gevent-chat";
import type { ChatChannel, Pending, Position } from "flask-gevent-chat";

const client = new ChatClient({
  url: "/chat/ws",
  token: async (channel) => {
    const answer = await fetch("/chat/token", { method: "POST", body: JSON.stringify({ channel }) });
    return (await answer.json()) as { token: string; username: string };
  },
  storage: sessionStorage,
});
client.addEventListener("state", ({ detail }) => {
  if (detail.name === "waiting") console.log(detail.until - Date.now());
  if (detail.name === "ended") console.log(detail.code, detail.error.retry);
  // @ts-expect-error: only a client that waits knows until when
  console.log(detail.until);
});

const lobby: ChatChannel = client.join("lobby", { position: null });
lobby.addEventListener("message", ({ detail: { from, text, offset } }) => console.log(from.length, text.length, offset + 1));
lobby.addEventListener("edit", ({ detail }) => console.log(detail.target, detail.text));
lobby.addEventListener("lost", ({ detail }) => save(detail));
lobby.addEventListener("outbox", ({ detail }) => detail.forEach(show));
// @ts-expect-error: there is no such event
lobby.addEventListener("thunder", () => {});
// @ts-expect-error: channels come from join()
new ChatChannel("lobby");

function save(position: Position): void {
  sessionStorage.setItem("position", JSON.stringify(position));
}

function show({ id, state, error }: Pending): void {
  if (state === "failed" && error?.retry) void lobby.retry(id);
}

try {
  const { offset } = await lobby.publish("hello", { to: "bob" });
  const { events, more } = await lobby.history({ before: offset ?? 1, limit: 20 });
  console.log(events[0]?.edited, more);
} catch (error) {
  if (error instanceof ChatError) console.log(error.code);
}
// @ts-expect-error: an offset is a number
await lobby.edit("7", "text");
// @ts-expect-error: without a url there is nothing to connect to
new ChatClient({ token: "t" });
