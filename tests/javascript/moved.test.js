// A server whose log has lost something says `welcome` again, on the open socket: it is as if one had come back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ack, error, listen, message, refusal, settle, Stage, welcome } from "./stage.js";

const MOVED = { epoch: "e2", offset: 1_048_586 };

/** A client in `lobby`, and `garden` too. */
async function inside() {
  const stage = new Stage();
  const client = stage.client();
  const [lobby, garden] = [client.join("lobby"), client.join("garden")];
  const socket = await stage.welcome("lobby");
  socket.tell(welcome("garden"), ack("garden", socket.of("join")[0].id));
  await settle();
  return { stage, client, lobby, garden, socket };
}

const ids = (socket) => socket.of("publish").map(({ id }) => id);

test("the position is the new one, and it goes on from there", async () => {
  const { lobby, garden, socket } = await inside();
  const heard = listen(lobby, "message");
  socket.tell(message("lobby", 7), message("garden", 3), welcome("lobby", MOVED), message("lobby", MOVED.offset + 1));

  assert.deepEqual(lobby.position, { epoch: "e2", offset: MOVED.offset + 1 });
  assert.deepEqual(heard.map(([, { offset }]) => offset), [7, MOVED.offset + 1]);
  assert.deepEqual(garden.position, { epoch: "e1", offset: 3 });
});

test("a loss is told once, with who is here, and what had not changed is not told", async () => {
  const { client, lobby, garden, socket } = await inside();
  const heard = listen(lobby, "state", "welcome", "lost");
  const others = [listen(client, "state", "error"), listen(garden, "state", "welcome", "lost")];

  socket.tell(welcome("lobby", { ...MOVED, users: [{ user: "bob" }], count: 1 }), message("lobby", MOVED.offset + 1));

  const [[, { users, count }], [, position]] = heard;
  assert.deepEqual(heard.map(([type]) => type), ["welcome", "lost"]);
  assert.deepEqual([users, count], [[{ user: "bob" }], 1]);
  assert.deepEqual(position, MOVED);
  assert.deepEqual(others, [[], []]);
});

test("a part that is missing within the same log is told as well", async () => {
  const { lobby, socket } = await inside();
  const heard = listen(lobby, "lost");
  const edited = lobby.edit(3, "corrected");

  socket.tell(message("lobby", 1), welcome("lobby", { epoch: "e1", offset: 50 }));
  const [{ id }, again] = socket.of("edit");
  socket.tell(ack("lobby", id, 51));

  assert.deepEqual(heard, [["lost", { epoch: "e1", offset: 50 }]]);
  assert.equal(again.id, id);
  assert.equal((await edited).offset, 51);
});

test("the connection stays, and so does its pulse", async () => {
  const { stage, client, socket } = await inside();
  for (let times = 0; times < 3; times += 1) {
    socket.tell(welcome("lobby", { ...MOVED, epoch: `e${times}` }));
    await stage.clock.turn(30_000);
  }
  socket.tell({ type: "ping" });

  assert.deepEqual([client.state.name, stage.sockets.length, stage.asked.length], ["online", 1, 2]);
  await stage.clock.turn(41_000);
  assert.notEqual(client.state.name, "online");
});

test("what is not answered is said again with its id, in order, and what is answered is not", async () => {
  const { lobby, socket } = await inside();
  const said = ["k1", "k2", "k3"].map((id) => lobby.publish(id, { id }));
  socket.tell(ack("lobby", "k1", 1));
  assert.deepEqual(ids(socket), ["k1", "k2"]);

  socket.tell(welcome("lobby", MOVED));
  assert.deepEqual(ids(socket), ["k1", "k2", "k2"]);
  socket.tell(ack("lobby", "k2", MOVED.offset + 1), ack("lobby", "k2", MOVED.offset + 1), ack("lobby", "k3", MOVED.offset + 2));

  assert.deepEqual(ids(socket), ["k1", "k2", "k2", "k3"]);
  assert.deepEqual((await Promise.all(said)).map(({ offset }) => offset), [1, MOVED.offset + 1, MOVED.offset + 2]);
  assert.deepEqual(lobby.pending, []);
});

test("of two answers to what was said again the first one counts, and the other is no complaint", async () => {
  const { client, lobby, socket } = await inside();
  const complaints = listen(client, "error");
  const said = lobby.publish("psst", { id: "k1", to: "bob" });
  socket.tell(welcome("lobby", MOVED));

  socket.tell(error("k1", "not_here"), error("k1", "not_here"));

  assert.equal(await refusal(said), "not_here");
  assert.deepEqual(complaints, []);
  assert.equal(lobby.pending.length, 1);
});

test("who was refused for now, and done after all, is content", async () => {
  const { stage, client, lobby, socket } = await inside();
  const complaints = listen(client, "error");
  const said = lobby.publish("one", { id: "k1" });
  socket.tell(welcome("lobby", MOVED), error("k1", "broker_unavailable", { retry: true }), ack("lobby", "k1", 9));
  await stage.clock.turn(1_500);
  assert.deepEqual(ids(socket), ["k1", "k1", "k1"]);

  socket.tell(ack("lobby", "k1", 9), error("k1", "hook_failed"));

  assert.equal((await said).offset, 9);
  assert.deepEqual(complaints.map(([, { code }]) => code), ["hook_failed"]); // the third answer to three: nobody asked for it
});

test("changes of messages fail when it is another log", async () => {
  const { lobby, socket } = await inside();
  const changes = [lobby.edit(1, "corrected"), lobby.delete(2)].map(refusal);
  lobby.publish("hello");

  socket.tell(welcome("lobby", MOVED));

  assert.deepEqual(await Promise.all(changes), ["no_such_message", "no_such_message"]);
  assert.deepEqual(socket.said.map(({ type }) => type), ["join", "edit", "publish"]);
});

test("a page of history that was asked for is asked for once", async () => {
  const { lobby, socket } = await inside();
  const [before, after] = [lobby.history(), lobby.history({ before: MOVED.offset })];
  socket.tell(welcome("lobby", MOVED));
  assert.equal(socket.of("history").length, 1);

  for (const more of [true, false]) {
    socket.tell({ type: "history", channel: "lobby", id: socket.of("history").at(-1).id, events: [], more });
  }

  assert.deepEqual([(await before).more, (await after).more], [true, false]);
});

test("how far one has read is another matter in another log, and the same in the same", async () => {
  const { stage, lobby, garden, socket } = await inside();
  for (const channel of [lobby, garden]) channel.read(500);
  socket.tell(welcome("lobby", { epoch: "e2", offset: 0 }), welcome("garden", { epoch: "e1", offset: 500 }));
  await stage.clock.turn(2_000);
  for (const channel of [lobby, garden]) channel.read(2);
  await stage.clock.turn(2_000);
  socket.end(1006);
  await stage.clock.turn(500);
  const next = await stage.welcome("lobby", { epoch: "e2", offset: 2, recovered: true });

  assert.deepEqual(socket.of("read").map(({ channel, offset }) => [channel, offset]), [
    ["lobby", 500],
    ["garden", 500],
    ["lobby", 2],
  ]);
  assert.deepEqual(next.of("read").map(({ offset }) => offset), [2]);
});

test("who comes back comes back to the new place", async () => {
  const { stage, socket } = await inside();
  socket.tell(welcome("lobby", MOVED));
  socket.end(1006);
  await stage.clock.turn(500);

  assert.equal(stage.socket.url.search, `?epoch=e2&offset=${MOVED.offset}`);
});

test("joins that are under way go on as they were", async () => {
  const { client, lobby, socket } = await inside();
  const attic = client.join("attic");
  await settle();
  const { id } = socket.of("join").at(-1);

  socket.tell(welcome("lobby", MOVED), welcome("garden", MOVED));
  await settle();
  assert.deepEqual([attic.state.name, lobby.state.name], ["joining", "joined"]);
  socket.tell(welcome("attic"), ack("attic", id));

  assert.equal(attic.state.name, "joined");
  assert.deepEqual(socket.of("join").length, 2);
  assert.deepEqual(socket.of("leave"), []);
});

test("a welcome that crosses with the leave is not that of the next join", async () => {
  const { client, garden, socket } = await inside();
  garden.leave();
  const again = client.join("garden");
  const complaints = listen(client, "error");
  socket.tell(welcome("garden", MOVED));
  await settle();
  assert.equal(again.state.name, "joining");
  assert.equal(socket.of("join").length, 1);

  socket.tell(ack("garden", socket.of("leave")[0].id));
  await settle();
  socket.tell(welcome("garden", MOVED), ack("garden", socket.of("join")[1].id));

  assert.equal(again.state.name, "joined");
  assert.equal(socket.of("leave").length, 1);
  assert.deepEqual(complaints, []);
});
