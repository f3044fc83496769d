import assert from "node:assert/strict";
import { test } from "node:test";
import { ack, error, listen, message, refusal, settle, Stage, welcome } from "./stage.js";

const MINUTES = 60_000;

/** Somebody in the lobby. */
async function inside(more = {}) {
  const stage = new Stage();
  const client = stage.client();
  const lobby = client.join("lobby");
  const socket = await stage.welcome("lobby", more);
  return { stage, client, lobby, socket };
}

/** A page that is loaded anew, with what the last one has left. */
function reload(stage, client) {
  stage.network.dispatchEvent(new Event("pagehide"));
  client.close();
  return stage.client();
}

const texts = (socket) => socket.of("publish").map(({ text }) => text);
const states = (channel) => channel.pending.map(({ text, state, error }) => [text, state, error?.code ?? null]);

test("what is said is confirmed by its ack", async () => {
  const { lobby, socket } = await inside();
  const heard = listen(lobby, "sent");
  const published = lobby.publish("hello", { id: "k1" });
  assert.deepEqual(socket.said, [{ type: "publish", channel: "lobby", id: "k1", text: "hello" }]);
  assert.deepEqual(states(lobby), [["hello", "sent", null]]);

  socket.tell(ack("lobby", "k1", 8));

  assert.deepEqual(await published, { id: "k1", offset: 8 });
  assert.deepEqual(lobby.pending, []);
  assert.deepEqual(heard, [["sent", { id: "k1", offset: 8, text: "hello", to: null }]]);
});

test("or by being heard, once", async () => {
  const { lobby, socket } = await inside();
  const heard = listen(lobby, "sent", "message");
  const published = lobby.publish("hello", { id: "k1" });

  socket.tell(message("lobby", 8, { id: "k1", from: "bob" }));
  assert.equal(lobby.pending.length, 1); // it is bob's, by chance
  socket.tell(message("lobby", 9, { id: "k1", from: "ann" }), ack("lobby", "k1", 9));

  assert.deepEqual(await published, { id: "k1", offset: 9 });
  assert.deepEqual(heard.map(([type]) => type), ["message", "sent", "message"]);
});

test("a whisper is said to one, and confirmed without an offset", async () => {
  const { lobby, socket } = await inside();
  const published = lobby.publish("psst", { to: "bob" });
  const [{ to, id }] = socket.of("publish");

  socket.tell(ack("lobby", id));

  assert.equal(to, "bob");
  assert.deepEqual(await published, { id, offset: null });
});

test("edits and deletes go the same way, in the order in which they were asked for", async () => {
  const { lobby, socket } = await inside();
  const [one, two, three] = [lobby.publish("one"), lobby.edit(3, "corrected"), lobby.delete(4)];
  for (let number = 0; number < 3; number += 1) {
    await settle();
    assert.equal(socket.said.length, number + 1);
    socket.tell(ack("lobby", socket.said[number].id, 10 + number));
  }

  assert.deepEqual(socket.said.map(({ type, target, text }) => [type, target, text]), [
    ["publish", undefined, "one"],
    ["edit", 3, "corrected"],
    ["delete", 4, undefined],
  ]);
  assert.deepEqual((await Promise.all([one, two, three])).map(({ offset }) => offset), [10, 11, 12]);
});

test("what waits for the connection goes out in order once it is there", async () => {
  const stage = new Stage();
  const lobby = stage.client().join("lobby");
  for (const text of ["one", "two", "three"]) lobby.publish(text);
  assert.deepEqual(states(lobby), [["one", "queued", null], ["two", "queued", null], ["three", "queued", null]]);
  const socket = await stage.welcome();
  for (let number = 0; number < 3; number += 1) socket.tell(ack("lobby", socket.of("publish")[number].id, number + 1));

  assert.deepEqual(texts(socket), ["one", "two", "three"]);
});

test("an ack that never comes is no failure: it is said again with the same id, ahead of what came later", async () => {
  const { stage, lobby, socket } = await inside();
  const published = lobby.publish("one", { id: "k1" });
  lobby.publish("psst", { id: "k2", to: "bob" });
  socket.end(1006);
  assert.deepEqual(states(lobby), [["one", "queued", null], ["psst", "queued", null]]);
  await stage.clock.turn(500);
  const next = await stage.welcome("lobby", { recovered: true });

  next.tell(ack("lobby", "k1", 5));

  assert.equal((await published).offset, 5);
  assert.deepEqual(next.of("publish").map(({ id }) => id), ["k1", "k2"]);
});

test("what the log shows to have arrived is not said again", async () => {
  const { stage, lobby, socket } = await inside();
  const published = lobby.publish("one", { id: "k1" });
  socket.end(1006);
  await stage.clock.turn(500);
  const next = await stage.welcome("lobby", { recovered: true });

  next.tell(message("lobby", 1, { id: "k1", from: "ann" }), ack("lobby", "k1", 1));

  assert.deepEqual(await published, { id: "k1", offset: 1 });
  assert.equal(next.of("publish").length, 1); // on its way before the log came, and deduplicated there
});

// Refusals

for (const code of ["rate_limited", "broker_unavailable", "channel_busy"]) {
  test(`what is refused with ${code} is said again, later each time, and nothing overtakes it`, async () => {
    const { stage, lobby, socket } = await inside();
    lobby.publish("one", { id: "k1" });
    lobby.publish("two");
    const waits = [];
    for (let times = 1; times <= 6; times += 1) {
      socket.tell(error("k1", code, { retry: true }));
      assert.deepEqual(states(lobby)[0], ["one", "queued", code]);
      const before = stage.clock.time;
      while (socket.of("publish").length === times) await stage.clock.turn(500);
      waits.push(stage.clock.time - before);
      socket.tell({ type: "ping" });
    }
    socket.tell(ack("lobby", "k1", 1));

    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 10_000, 10_000]);
    assert.deepEqual(texts(socket), [...Array(7).fill("one"), "two"]);
  });
}

for (const code of ["not_here", "forbidden", "hook_failed", "message_too_big"]) {
  test(`what is refused with ${code} has failed, and the next one is said`, async () => {
    const { lobby, socket } = await inside();
    const published = lobby.publish("one", { id: "k1" });
    lobby.publish("two");

    socket.tell(error("k1", code));

    assert.equal(await refusal(published), code);
    assert.deepEqual(states(lobby), [["one", "failed", code], ["two", "sent", null]]);
  });
}

test("what has failed can be said again, after what was said meanwhile", async () => {
  const { lobby, socket } = await inside();
  lobby.publish("one", { id: "k1" });
  lobby.publish("two", { id: "k2" });
  socket.tell(error("k1", "not_here"));

  const again = lobby.retry("k1");
  socket.tell(ack("lobby", "k2", 1), ack("lobby", "k1", 2));

  assert.deepEqual(await again, { id: "k1", offset: 2 });
  assert.deepEqual(texts(socket), ["one", "two", "one"]);
  assert.equal(await refusal(lobby.retry("k1")), "unknown_id");
});

test("what has failed can be forgotten, and so can what is under way", async () => {
  const { lobby, socket } = await inside();
  const [one, two] = [lobby.publish("one", { id: "k1" }), lobby.publish("two", { id: "k2" })];
  socket.tell(error("k1", "not_here"));

  lobby.discard("k1");
  lobby.discard("k2");
  socket.tell(error("k2", "broker_unavailable", { retry: true }));

  assert.deepEqual(lobby.pending, []);
  assert.deepEqual([await refusal(one), await refusal(two)], ["not_here", "discarded"]);
});

test("an edit that is refused leaves nothing behind", async () => {
  const { lobby, socket } = await inside();
  const edited = lobby.edit(3, "x");
  lobby.publish("next");

  socket.tell(error(socket.said[0].id, "too_late"));

  assert.equal(await refusal(edited), "too_late");
  assert.deepEqual(states(lobby), [["next", "sent", null]]);
});

test("what no server would take is not sent", async () => {
  const { lobby, socket } = await inside();
  const huge = "\u00e9".repeat(2049);

  const said = ["half \ud800", "nul \0", huge].map((text) => lobby.publish(text));
  const named = ["a b", "x".repeat(65)].map((id) => lobby.publish("x", { id }));
  const codes = await Promise.all([...said, ...named].map(refusal));
  lobby.publish("\u00e9".repeat(2048));

  assert.deepEqual(codes, ["bad_text", "bad_text", "message_too_big", "bad_request", "bad_request"]);
  assert.equal(socket.of("publish").length, 1);
});

test("the same id is said once", async () => {
  const { lobby, socket } = await inside();
  const [one, again] = [lobby.publish("one", { id: "k1" }), lobby.publish("one", { id: "k1" })];

  socket.tell(ack("lobby", "k1", 1));

  assert.deepEqual(await one, await again);
  assert.equal(socket.of("publish").length, 1);
});

test("too much that waits is refused", async () => {
  const stage = new Stage();
  const lobby = stage.client().join("lobby");
  for (let number = 0; number < 100; number += 1) lobby.publish(`${number}`);

  assert.equal(await refusal(lobby.publish("one more")), "outbox_full");
  assert.equal(lobby.pending.length, 100);
});

test("when the channel ends, what waits has failed, and can be said when it is back", async () => {
  const { stage, client, lobby, socket } = await inside();
  const published = lobby.publish("one");
  socket.end(4503);
  assert.equal(await refusal(published), "kicked");
  assert.equal(await refusal(lobby.publish("two")), "kicked");
  client.join("lobby");
  const next = await stage.welcome();
  assert.deepEqual(next.said, []);

  lobby.retry(lobby.pending[0].id);

  assert.deepEqual(texts(next), ["one"]);
});

// Time

test("what could not be said in time has failed, with another try to offer", async () => {
  const { stage, lobby, socket } = await inside();
  const sent = lobby.publish("perhaps", { id: "k1" });
  socket.end(1006);
  stage.setOnline(false);
  await stage.clock.turn(60_000);
  const unsent = lobby.publish("surely not");
  await stage.clock.turn(5 * MINUTES);

  assert.equal(await refusal(sent), "unconfirmed");
  assert.equal(await refusal(unsent), "unsent");
  assert.ok(lobby.pending.every(({ state, error: { retry } }) => state === "failed" && retry));
  stage.setOnline(true);
  await stage.clock.turn(500);
  const next = await stage.welcome("lobby", { recovered: true });
  assert.deepEqual(next.said, []);
  next.tell(message("lobby", 1, { id: "k1", from: "ann" })); // so it had arrived
  assert.deepEqual(lobby.pending.map(({ text }) => text), ["surely not"]);
  lobby.retry(lobby.pending[0].id);
  assert.deepEqual(texts(next), ["surely not"]);
});

test("a computer that has slept says nothing again that the server has forgotten", async () => {
  const { stage, lobby, socket } = await inside();
  lobby.publish("one", { id: "k1" });
  socket.end(1006);
  stage.clock.sleep(5 * MINUTES); // the alarm has not rung when the connection is back
  await stage.clock.turn(500);

  const next = await stage.welcome("lobby", { recovered: true });

  assert.deepEqual(next.said, []);
  assert.deepEqual(states(lobby), [["one", "failed", "unconfirmed"]]);
});

test("changes of messages fail when the log has begun anew, and what is said does not", async () => {
  const { stage, lobby, socket } = await inside();
  socket.end(1006);
  const [edit, taken] = [lobby.edit(1, "corrected"), lobby.delete(2)].map(refusal);
  lobby.publish("hello");
  await stage.clock.turn(500);

  const next = await stage.welcome("lobby", { epoch: "e2" });

  assert.deepEqual([await edit, await taken], ["no_such_message", "no_such_message"]);
  assert.deepEqual(next.said.map(({ type }) => type), ["publish"]);
});

// Over a reload

test("a page that is loaded again goes on from where it was, and says again what was not confirmed", async () => {
  const { stage, client, lobby, socket } = await inside();
  socket.tell(message("lobby", 1), message("lobby", 2));
  lobby.publish("one", { id: "k1" });
  lobby.publish("psst", { id: "k2", to: "bob" });
  const again = reload(stage, client).join("lobby");
  assert.deepEqual(states(again), [["one", "queued", null], ["psst", "queued", null]]);
  const next = await stage.welcome("lobby", { recovered: true, offset: 2 });
  next.tell(ack("lobby", "k1", 3), ack("lobby", "k2"));

  assert.equal(next.url.search, "?epoch=e1&offset=2");
  assert.deepEqual(next.of("publish").map(({ id, to }) => [id, to]), [["k1", undefined], ["k2", "bob"]]);
  assert.deepEqual(again.pending, []);
  assert.deepEqual([...stage.storage.items.keys()], ["chat:position:lobby"]);
});

test("what was said long before a reload has failed after it", async () => {
  const { stage, client, lobby } = await inside();
  lobby.publish("one");
  client.close();
  stage.clock.sleep(5 * MINUTES);

  const again = stage.client().join("lobby");
  await stage.clock.turn(0);

  assert.deepEqual(states(again), [["one", "failed", "unconfirmed"]]);
});

test("a client that was closed leaves the storage to the next one", async () => {
  const { stage, client, lobby } = await inside();
  lobby.publish("one", { id: "k1" });
  const again = reload(stage, client).join("lobby");
  const next = await stage.welcome("lobby", { recovered: true });
  next.tell(ack("lobby", "k1", 1));

  await stage.clock.turn(6 * MINUTES);

  assert.equal(stage.storage.getItem("chat:outbox:lobby"), null);
  assert.deepEqual(again.pending, []);
});

test("what had failed before a reload has failed after it, for the same reason", async () => {
  const { stage, client, lobby, socket } = await inside();
  lobby.publish("one", { id: "k1" });
  socket.tell(error("k1", "not_here"));

  const again = reload(stage, client).join("lobby");

  assert.deepEqual(states(again), [["one", "failed", "not_here"]]);
});

test("a caller can begin anew, or elsewhere", async () => {
  const { stage, client, socket } = await inside();
  socket.tell(message("lobby", 1));
  const anew = reload(stage, client);
  anew.join("lobby", { position: null });
  await settle();
  assert.equal(stage.socket.url.search, "");
  anew.close();
  anew.join("lobby", { position: { epoch: "e0", offset: 0 } });
  await settle();

  assert.equal(stage.socket.url.search, "?epoch=e0&offset=0");
});

test("what another user has left is neither said nor resumed", async () => {
  for (const username of ["bob", undefined]) {
    const { stage, client, lobby, socket } = await inside();
    socket.tell(message("lobby", 1));
    lobby.publish("ann's own");
    client.close();
    stage.token = async () => ({ token: "t", username });

    const other = stage.client().join("lobby");
    const next = await stage.welcome("lobby", { user: { user: "bob" } });

    assert.deepEqual([next.said, other.pending], [[], []]);
    if (username) assert.equal(next.url.search, "");
    await stage.clock.turn(1000);
    assert.ok(![...stage.storage.items.values()].some((value) => value.includes("ann")));
  }
});

test("a user who is known from the beginning sees nothing of another one's", async () => {
  const { stage, client, lobby } = await inside();
  lobby.publish("ann's own");
  client.close();

  assert.deepEqual(stage.client({ user: "bob" }).join("lobby").pending, []);
});

test("positions are written every so often, and when the page goes", async () => {
  const { stage, socket } = await inside();
  await stage.clock.turn(1000);
  const before = stage.storage.writes;
  for (let offset = 1; offset <= 1000; offset += 1) {
    socket.tell(message("lobby", offset));
    await stage.clock.turn(5);
  }
  const writes = stage.storage.writes - before;
  socket.tell(message("lobby", 1001));
  stage.network.dispatchEvent(new Event("pagehide"));

  assert.ok(writes >= 4 && writes <= 5, `${writes} writes`);
  assert.equal(JSON.parse(stage.storage.getItem("chat:position:lobby")).offset, 1001);
});

test("a storage that is full, forbidden or spoiled costs only what it would have kept", async () => {
  const broken = () => {
    throw new Error("SecurityError");
  };
  const spoiled = (value) => ({ getItem: () => value, setItem: broken, removeItem: broken });
  const forbidden = { getItem: broken, setItem: broken, removeItem: broken };
  const spoils = ["{", "7", '{"entries":[1,{}],"epoch":3,"offset":-1}'];
  for (const storage of [null, forbidden, ...spoils.map(spoiled)]) {
    const stage = new Stage();
    const lobby = stage.client({ storage }).join("lobby");
    const published = lobby.publish("hello", { id: "k1" });
    const socket = await stage.welcome();
    socket.tell(ack("lobby", "k1", 1));

    assert.equal((await published).offset, 1);
    assert.equal(socket.url.search, "");
  }
});

test("a promise that nobody looks at is nobody's fault", async (t) => {
  const unhandled = [];
  const note = (reason) => unhandled.push(reason);
  process.on("unhandledRejection", note);
  t.after(() => process.off("unhandledRejection", note));
  const { lobby, socket } = await inside();
  lobby.publish("one", { id: "k1" });
  lobby.publish("half \ud800");

  socket.tell(error("k1", "forbidden"));
  lobby.retry("k1");
  socket.end(4503);
  lobby.publish("two");
  await settle();

  assert.deepEqual(unhandled, []);
});

test("two channels do not wait for each other", async () => {
  const { client, lobby, socket } = await inside();
  const garden = client.join("garden");
  await settle();
  socket.tell(welcome("garden"));

  lobby.publish("one");
  garden.publish("two");

  assert.deepEqual(texts(socket), ["one", "two"]);
});
