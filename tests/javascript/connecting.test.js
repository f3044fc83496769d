import assert from "node:assert/strict";
import { test } from "node:test";
import { ack, listen, settle, Stage, welcome } from "./stage.js";

test("the first channel rides in the handshake, with its token and its position", async () => {
  const stage = new Stage();

  const client = stage.client();
  client.join("lobby", { position: { epoch: "e 1", offset: 7 } });
  await settle();

  assert.equal(stage.socket.url.href, "wss://example.org/chat/ws?epoch=e+1&offset=7");
  assert.deepEqual(stage.socket.protocols, ["chat.v1", "chat.token.lobby-1"]);
});

test("a channel that has no position yet asks to resume nothing", async () => {
  const stage = new Stage();

  stage.client({ url: "http://localhost:8000/chat/ws" }).join("lobby");
  await settle();

  assert.equal(stage.socket.url.href, "ws://localhost:8000/chat/ws");
});

test("every handshake and every join asks for a token of its own", async () => {
  const stage = new Stage();
  const client = stage.client();
  client.join("lobby");
  client.join("garden");
  await stage.welcome();
  const joins = stage.socket.of("join");
  stage.socket.tell(welcome("garden"), ack("garden", joins[0].id));
  stage.socket.end(1006);
  await stage.clock.turn(1000);
  await stage.welcome();

  assert.deepEqual(stage.asked, ["lobby", "garden", "lobby", "garden"]);
  assert.equal(joins[0].token, "garden-2");
  assert.deepEqual(stage.sockets.map(({ protocols }) => protocols[1]), ["chat.token.lobby-1", "chat.token.lobby-3"]);
});

test("its states are told as they come", async () => {
  const stage = new Stage();
  const client = stage.client();
  assert.deepEqual(client.state, { name: "idle" });
  const heard = listen(client, "state");

  const lobby = client.join("lobby");
  const own = listen(lobby, "state");
  await stage.welcome();
  stage.socket.end(1006);
  const until = stage.clock.time + 500;
  await stage.clock.turn(500);
  client.close();

  assert.deepEqual(heard.map(([, state]) => state), [
    { name: "connecting", isAgain: false },
    { name: "online" },
    { name: "waiting", until, isOrdered: false },
    { name: "connecting", isAgain: true },
    { name: "idle" },
  ]);
  assert.deepEqual(own.map(([, { name }]) => name), ["joined", "waiting", "joining", "waiting"]);
  assert.ok(stage.clock.isQuiet);
  assert.equal(stage.socket.closedWith, 1000);
});
